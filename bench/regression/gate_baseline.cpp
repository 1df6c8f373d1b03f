#include "bench/regression/gate_baseline.h"

#include <fmt/format.h>

#include <cmath>

#include "bench/reports/json_report.h"
#include "engine/files/json_record.h"

namespace whittle {
namespace {

constexpr RecordField<SpeedRecord, std::vector<double>> speeds[] = {
    {"prefill_tokens_per_s", &SpeedRecord::prefill_tokens_per_s},
    {"decode_tokens_per_s", &SpeedRecord::decode_tokens_per_s},
    {"prefill_fraction", &SpeedRecord::prefill_fraction},
    {"decode_fraction", &SpeedRecord::decode_fraction},
};
constexpr RecordField<SizeRecord, int64_t> sizes[] = {
    {"disk_bytes", &SizeRecord::disk_bytes},
    {"weights_bytes", &SizeRecord::weights_bytes},
    {"kv_cache_bytes", &SizeRecord::kv_cache_bytes},
    {"peak_rss_bytes", &SizeRecord::peak_rss_bytes},
};
constexpr RecordField<GateChange, std::string> changes[] = {
    {"time", &GateChange::time},
    {"by", &GateChange::by},
    {"reason", &GateChange::reason},
    {"program", &GateChange::program},
};

constexpr size_t most_repeats = 1 << 20;

constexpr const char* schema = "gate-baseline";

}  // namespace

SpeedRecord speed_record(const SpeedReport& report) {
  return {report.prefill_tokens_per_s(), report.decode_tokens_per_s(), report.prefill_fraction(),
          report.decode_bandwidth_fraction()};
}

nlohmann::json gate_baseline_json(const GateBaseline& baseline) {
  nlohmann::json json = report_header(schema, baseline.fingerprint);
  json["inputs"] = gate_inputs_json(baseline.inputs);
  json["accuracy"] = accuracy_json(baseline.accuracy);
  json["layer_errors_percent"] = nlohmann::json::object();
  for (const auto& [name, percent] : baseline.layers) json["layer_errors_percent"][name] = percent;
  json["tasks"] = tasks_record_json(baseline.tasks);
  for (const auto& [key, values] : speeds) json["speed"][key] = baseline.speed.*values;
  for (const auto& [key, bytes] : sizes) json["size"][key] = baseline.size.*bytes;
  json["history"] = nlohmann::json::array();
  for (const GateChange& change : baseline.history) {
    nlohmann::json entry;
    for (const auto& [key, text] : changes) entry[key] = change.*text;
    json["history"].push_back(entry);
  }
  return json;
}

GateInputs read_gate_inputs(const nlohmann::json& json, const std::string& what) {
  const JsonFields fields(json, what);
  check_header(fields, schema, 1);
  return read_inputs(fields.object("inputs"));
}

std::vector<TaskRecord> read_gate_tasks(const nlohmann::json& json, const std::string& what) {
  return read_tasks_record(JsonFields(json, what));
}

std::vector<GateChange> read_history(const nlohmann::json& json, const std::string& what) {
  const JsonFields fields(json, what);
  std::vector<GateChange> read;
  const nlohmann::json& history = fields.at("history");
  if (!history.is_array() || history.empty()) fields.reject("history", "expected an array of changes");
  for (const nlohmann::json& entry : history) {
    const JsonFields change(entry, what + ": field \"history\"");
    GateChange& one = read.emplace_back();
    for (const auto& [key, text] : changes) one.*text = change.string(key);
  }
  return read;
}

GateBaseline read_gate_baseline(const nlohmann::json& json, const std::string& what, const Windows& windows,
                                int64_t vocab_size) {
  GateBaseline baseline;
  baseline.inputs = read_gate_inputs(json, what);
  const JsonFields fields(json, what);
  baseline.accuracy = read_accuracy(fields.object("accuracy"), windows, vocab_size);
  const JsonFields layers = fields.object("layer_errors_percent");
  for (const auto& [name, percent] : layers.object().items()) {
    if (!percent.is_number() || !std::isfinite(percent.get<double>()))
      layers.reject(name.c_str(), "expected a number, found " + json_text(percent));
    baseline.layers.emplace_back(name, percent.get<double>());
  }
  baseline.tasks = read_gate_tasks(json, what);
  const JsonFields speed = fields.object("speed");
  for (const auto& [key, values] : speeds) baseline.speed.*values = read_numbers(speed, key, 1, most_repeats);
  const JsonFields size = fields.object("size");
  for (const auto& [key, bytes] : sizes) baseline.size.*bytes = size.integer(key, 1, int64_t{1} << 60);
  baseline.history = read_history(json, what);
  return baseline;
}

}  // namespace whittle
