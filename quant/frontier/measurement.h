#pragma once
// One model beside the original that it was made from: size, memory, speed and drift.

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "bench/speed.h"
#include "bench/windows.h"
#include "quant/frontier/result.h"

namespace whittle {

struct MeasurementOptions {
  Windows text;  // to judge by
  SpeedOptions speed;
  // The command line of a process that calls report_own_peak_memory() for a folder.
  std::function<std::vector<std::string>(const std::filesystem::path&)> memory_child;
};

using MeasurementProgress = std::function<void(const std::string& phase, int64_t done, int64_t total)>;

// Fills in what the figures say. Both models run in turns, in pairs, and each beside its probes; the drift is
// that of `whittle drift`. Throws Error.
void measure(const std::filesystem::path& original, const std::filesystem::path& model, const Team& team,
             const MeasurementOptions& options, const MeasurementProgress& progress, RecipeResult& result);

}  // namespace whittle
