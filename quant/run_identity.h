#pragma once
// Everything that a run's results depend on: another may only go on where nothing of it has changed.

#include <filesystem>
#include <nlohmann/json.hpp>

#include "quant/pipeline.h"

namespace whittle {

// An object for WorkFolder. recipe: before a budget is spent.
nlohmann::json run_identity(const std::filesystem::path& source, const Recipe& recipe,
                            const RunOptions& options);

}  // namespace whittle
