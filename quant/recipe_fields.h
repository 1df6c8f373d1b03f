#pragma once
// What the recipes of both commands share in JSON.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>

#include "engine/files/json_file.h"
#include "quant/calibration.h"

namespace whittle {

inline constexpr int64_t most_recipe_tokens = int64_t{1} << 24;

// Throws Error that names a field which is not among `known`.
void refuse_unknown(const JsonFields& fields, std::span<const std::string_view> known);

nlohmann::ordered_json calibration_json(const CalibrationChoice& choice);
// The field "calibration"; where it is absent, the default. Throws Error that names the field.
CalibrationChoice read_calibration(const JsonFields& recipe);

}  // namespace whittle
