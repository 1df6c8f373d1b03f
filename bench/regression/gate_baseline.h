#pragma once
// What a gate stores of a model that was good, and compares a later one with.

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bench/fingerprint.h"
#include "bench/regression/accuracy_record.h"
#include "bench/regression/gate_inputs.h"
#include "bench/regression/layer_errors.h"
#include "bench/regression/task_record.h"
#include "bench/speed.h"

namespace whittle {

// How fast it was, for the record: a figure of another hour decides nothing.
struct SpeedRecord {
  std::vector<double> prefill_tokens_per_s, decode_tokens_per_s;  // one value a repeat
  std::vector<double> prefill_fraction, decode_fraction;          // of the probe beside it
};
SpeedRecord speed_record(const SpeedReport& report);

struct SizeRecord {
  int64_t disk_bytes = 0, weights_bytes = 0, kv_cache_bytes = 0;
  int64_t peak_rss_bytes = 0;  // the least of several processes that only generate
};

// Who made this the baseline.
struct GateChange {
  std::string time;  // UTC, ISO 8601
  std::string by, reason, program;
};

struct GateBaseline {
  Fingerprint fingerprint;  // of the run that measured it; not read again
  GateInputs inputs;
  AccuracyRecord accuracy;
  LayerErrors layers;  // empty where the shapes of the baseline's layers differ
  std::vector<TaskRecord> tasks;
  SpeedRecord speed;
  SizeRecord size;
  std::vector<GateChange> history;  // the last is the newest
};

// Keys: see bench/reports/schemas/.
nlohmann::json gate_baseline_json(const GateBaseline& baseline);
// The file's inputs, which say what to read before anything else can be checked.
GateInputs read_gate_inputs(const nlohmann::json& json, const std::string& what);
// What was asked, and why it became the baseline.
std::vector<TaskRecord> read_gate_tasks(const nlohmann::json& json, const std::string& what);
std::vector<GateChange> read_history(const nlohmann::json& json, const std::string& what);
// The rest, which must fit these windows. Throws Error that names the field.
GateBaseline read_gate_baseline(const nlohmann::json& json, const std::string& what, const Windows& windows,
                                int64_t vocab_size);

}  // namespace whittle
