#pragma once
// The text to calibrate on as the recipes of both commands have it in JSON.

#include <cstdint>
#include <nlohmann/json.hpp>

#include "engine/files/json_file.h"
#include "quant/calibration.h"

namespace whittle {

inline constexpr int64_t most_recipe_tokens = int64_t{1} << 24;

nlohmann::ordered_json calibration_json(const CalibrationChoice& choice);
// The field "calibration"; where it is absent, the default. Throws Error that names the field.
CalibrationChoice read_calibration(const JsonFields& recipe);

}  // namespace whittle
