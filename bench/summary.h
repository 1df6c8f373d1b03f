#pragma once
// `whittle bench`: models side by side, what each costs and what each lost.

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/drift.h"
#include "bench/reports/machine_report.h"
#include "bench/speed.h"

namespace whittle {

struct BenchOptions {
  std::vector<std::filesystem::path> models;
  std::optional<std::filesystem::path> baseline;  // measured first; the others are compared with it
  std::optional<std::string> text;                // to measure every model's drift from the baseline on
  SpeedOptions speed;
  int threads = 0;
  // The command line of a process that calls report_own_peak_memory() for a folder.
  std::function<std::vector<std::string>(const std::filesystem::path&)> memory_child;
};

struct ModelSummary {
  SpeedReport speed;
  int64_t peak_rss_bytes = 0;
  std::optional<DriftReport> drift;  // unset for the baseline, and without a text
};

struct BenchReport {
  MachineReport machine;
  SpeedOptions options;
  bool has_baseline = false, alternated = true;
  std::vector<ModelSummary> models;  // the baseline first
  Windows windows;                   // of the drift, cut as protocol "windows" cuts
};

// `phase`: "peak memory", "speed" or "drift"; done of total of that phase. `model`: its name.
using BenchProgress =
    std::function<void(const std::string& phase, int64_t done, int64_t total, const std::string& model)>;

// Throws Error; what the options alone make impossible, before anything is measured.
BenchReport measure_models(const BenchOptions& options, const BenchProgress& progress);

// Keys: see bench/reports/README.md.
nlohmann::json bench_json(const BenchReport& report);
// Models that do not fit beside each other go below.
std::string bench_text(const BenchReport& report);
// A table a model and phase, where options.speed.profile was set.
std::string bench_profile_text(const BenchReport& report);
// See trace_json: a process a model and phase.
nlohmann::json bench_trace(const BenchReport& report);

}  // namespace whittle
