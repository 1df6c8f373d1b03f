#pragma once
// `whittle gate`: stores what a good model says, weighs and takes, and holds a later one against it.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bench/fingerprint.h"
#include "bench/machine.h"
#include "bench/regression/gate_baseline.h"
#include "bench/regression/paired_speed.h"

namespace whittle {

// Of the stored mean KL, by which it may rise unless said otherwise. Where the bits are the same there is no
// change at all, and an honest change of the last bits moves it by less.
inline constexpr double default_kl_share = 0.02;

// By how much each figure may get worse.
struct GateBudgets {
  std::optional<double> kl;  // nats a token; unset: default_kl_share of the stored mean
  double perplexity_increase_percent = 0.5;
  double task_loss_points = 1;
  double top_loss_points = 0.5;          // accuracy of the most likely token, in percentage points
  double size_increase_percent = 1;      // of the files, and of packed weights
  double memory_increase_percent = 5;    // of the peak, but at least memory_slack_bytes
  int64_t memory_slack_bytes = 2 << 20;  // by which the peak of the same program differs from run to run
  PairedSpeedOptions speed;
};

struct GateOptions {
  std::filesystem::path model, baseline;
  std::string text;  // as far as it is used
  std::filesystem::path text_file;
  int64_t context = 512, characters = 0;
  std::string protocol = "windows";
  std::vector<GateTask> tasks;
  KvFormat kv_cache = KvFormat::f16;
  std::string program;  // name, version and commit
  SpeedOptions speed{.prompt_tokens = 64, .gen_tokens = 32, .repeat = 9};
  GateBudgets budgets;
  // The command line of a process that calls report_own_peak_memory() for the model.
  std::vector<std::string> memory_child;
  PairedSides turns;  // unset: speed is not judged
};

using GateProgress = std::function<void(const std::string& stage, int64_t done, int64_t total)>;

// Speed in turns runs two processes of the model that was before and one of what is now: throws Error where
// these need more memory than is available. Another build has the same model.
void check_turns_memory(const std::filesystem::path& before, const std::filesystem::path& now,
                        const Machine& machine);

// Everything of a good model, without history. Throws Error.
GateBaseline measure_gate_baseline(const GateOptions& options, const Team& team,
                                   const GateProgress& progress);

struct GateReport {
  std::vector<Check> checks;
  std::vector<std::string> suspects;  // layers and linears whose error grew most, worst first
  GateInputs inputs;                  // of the model that was judged
  GateChange stored;                  // who made the baseline what it is
  std::optional<PairedSpeed> speed;
  SpeedRecord speed_before;  // as stored
  std::string model;         // its name
  Fingerprint fingerprint;

  Outcome outcome() const { return verdict(checks); }
};

// `stored`: the whole file, `what` its name. The baseline's weights are read only where the model's bits are
// not those stored. Throws Error.
GateReport check_gate(const nlohmann::json& stored, const std::string& what, const GateOptions& options,
                      const Team& team, const GateProgress& progress);

// Keys of the report: see bench/reports/schemas/gate.json.
nlohmann::json gate_report_json(const GateReport& report);
std::string gate_report_text(const GateReport& report);
// For the summary of a job in continuous integration.
std::string gate_report_markdown(const GateReport& report);
// JUnit's XML: a test case a check; what is inconclusive or not comparable is an error, a regression a
// failure, what was not judged is skipped.
std::string gate_report_junit(const GateReport& report);

}  // namespace whittle
