#pragma once
// Everything that a run's results depend on: another may only go on where nothing of it has changed.

#include <filesystem>
#include <nlohmann/json.hpp>

#include "quant/calibration.h"
#include "quant/pipeline.h"

namespace whittle {

// An object for WorkFolder. recipe: as its file has it, before anything is chosen. text: what of it comes
// from files or pipes; the model's own is decided by recipe and model.
nlohmann::json run_identity(const std::filesystem::path& source, const nlohmann::json& recipe,
                            const CalibrationText& text, const RunOptions& options);

}  // namespace whittle
