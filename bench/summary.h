#pragma once
// `whittle bench`: models side by side, what each costs and what each lost.

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/drift/drift.h"
#include "bench/fingerprint.h"
#include "bench/goal.h"
#include "bench/reports/machine_report.h"
#include "bench/speed.h"
#include "bench/sweep.h"

namespace whittle {

struct BenchOptions {
  std::vector<std::filesystem::path> models;
  std::optional<std::filesystem::path> baseline;  // measured first; the others are compared with it
  std::optional<std::string> text;                // to measure every model's drift from the baseline on
  std::vector<SweepPoint> points = std::vector<SweepPoint>(1);  // at least one
  Goal goal = Goal::none;
  ThroughputGoal throughput;  // where that is the goal
  // The command line of a process that calls report_own_peak_memory() for a folder at a point.
  std::function<std::vector<std::string>(const std::filesystem::path&, const SweepPoint&)> memory_child;
};

struct ModelSummary {
  std::vector<SpeedReport> cells;    // one a point; of a throughput goal, one a number of sequences tried
  int64_t peak_rss_bytes = 0;        // at the point that needs the most
  std::optional<DriftReport> drift;  // unset for the baseline, and without a text
  std::vector<ThroughputSearch> searches;  // one a point, whose reports are moved into `cells`

  // What does not depend on the point, and all where there is one.
  const SpeedReport& speed() const { return cells.front(); }
};

struct BenchReport {
  MachineReport machine;
  std::vector<SweepPoint> points;
  int64_t prompts = 0;  // of a file
  Goal goal = Goal::none;
  ThroughputGoal throughput;
  bool has_baseline = false, alternated = true;
  std::vector<ModelSummary> models;  // the baseline first
  Windows windows;                   // of the drift, cut as protocol "windows" cuts

  // Whether each model has one cell, so that its figures stand with it.
  bool single() const { return points.size() == 1 && goal != Goal::throughput; }
};

// `phase`: "peak memory", "speed", "throughput" or "drift"; done of total of that phase. `model`: its name.
using BenchProgress =
    std::function<void(const std::string& phase, int64_t done, int64_t total, const std::string& model)>;

// Throws Error; what the options alone make impossible, before anything is measured.
BenchReport measure_models(const BenchOptions& options, const BenchProgress& progress);

// Keys: see bench/reports/schemas/.
nlohmann::json bench_json(const BenchReport& report, const Fingerprint& fingerprint);
// Models that do not fit beside each other go below; of several points or a goal, the table of all cells.
std::string bench_text(const BenchReport& report);
// A table a model and phase, where `profile` was set.
std::string bench_profile_text(const BenchReport& report);
// See trace_json: a process a model and phase.
nlohmann::json bench_trace(const BenchReport& report);

}  // namespace whittle
