#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "bench/reports/cells.h"
#include "bench/reports/cells_report.h"
#include "bench/reports/figures.h"
#include "bench/reports/speed_report.h"

namespace whittle {
namespace {

nlohmann::json against_json(const BenchCell& cell) {
  if (!cell.baseline) return nullptr;
  const BaselineRatios against = baseline_ratios(*cell.speed, *cell.baseline);
  return {{"ttft_speedup", or_null(against.ttft)},
          {"prefill_speedup", or_null(against.prefill)},
          {"decode_speedup", or_null(against.decode)}};
}

nlohmann::json settings_json(const SpeedReport& speed, bool of_file) {
  nlohmann::json json;
  for (const CellSetting& setting : cell_settings())
    json[setting.key] = of_file && setting.of_prompt ? nlohmann::json(nullptr) : setting.value(speed);
  return json;
}

nlohmann::json cell_json(const BenchReport& report, const BenchCell& cell) {
  nlohmann::json json = setting_json(*cell.speed);
  json.update(settings_json(*cell.speed, report.prompts > 0));
  json["model"] = cell.speed->name;
  json["is_baseline"] = cell.is_baseline;
  json["against_baseline"] = against_json(cell);
  json["profile"] = profiles_json(*cell.speed);
  json["within_goal"] = or_null(cell.within_goal);
  return json;
}

constexpr const char* csv_keys[] = {
    "model",
    "is_baseline",
    "bits_per_weight",
    "disk_bytes",
    "weights_bytes",
    "peak_rss_bytes",
    "threads",
    "kv_cache",
    "context",
    "sequences",
    "prompt_tokens",
    "gen_tokens",
    "kv_cache_bytes",
    "ttft_ms",
    "ttft_percentiles_ms/p50",
    "ttft_percentiles_ms/p95",
    "ttft_percentiles_ms/p99",
    "prefill_tokens_per_s",
    "prefill_int8_fraction",
    "prefill_fp32_fraction",
    "decode_tokens_per_s",
    "decode_gb_per_s",
    "decode_bandwidth_fraction",
    "itl_ms/p50",
    "itl_ms/p95",
    "itl_ms/p99",
    "request_ms/p50",
    "request_ms/p95",
    "request_ms/p99",
    "adjacent_read_gb_per_s",
    "adjacent_arithmetic_gops",
    "spread/ttft_ms/mad",
    "spread/prefill_tokens_per_s/mad",
    "spread/decode_tokens_per_s/mad",
    "against_baseline/ttft_speedup",
    "against_baseline/prefill_speedup",
    "against_baseline/decode_speedup",
    "energy/prefill/joules_per_token",
    "energy/prefill/above_idle_joules_per_token",
    "energy/decode/joules_per_token",
    "energy/decode/above_idle_joules_per_token",
    "within_goal",
};

std::string csv_field(const nlohmann::json& value) {
  if (value.is_null()) return "";
  if (!value.is_string()) return value.dump();
  std::string text = value.get<std::string>();
  if (text.find_first_of("\",\r\n") == std::string::npos) return text;
  for (size_t at = 0; (at = text.find('"', at)) != std::string::npos; at += 2) text.insert(at, 1, '"');
  return fmt::format("\"{}\"", text);
}

}  // namespace

nlohmann::json cells_json(const BenchReport& report) {
  nlohmann::json json = nlohmann::json::array();
  for (const BenchCell& cell : bench_cells(report)) json.push_back(cell_json(report, cell));
  return json;
}

nlohmann::json goal_json(const BenchReport& report) {
  if (report.goal == Goal::none) return nullptr;
  const bool throughput = report.goal == Goal::throughput;
  nlohmann::json searches;
  for (const ModelSummary& model : report.models) {
    size_t first = 0;
    for (const ThroughputSearch& search : model.searches) {
      nlohmann::json& json = searches.emplace_back(settings_json(model.cells[first], false));
      json["model"] = model.speed().name;
      json["sequences"] = nullptr;
      json["decode_tokens_per_s"] = nullptr;
      if (search.search.best) {
        const Tried& best = search.search.tried[*search.search.best];
        json["sequences"] = best.sequences;
        json["decode_tokens_per_s"] = best.tokens_per_s;
      }
      json["ended_by"] = name(search.end);
      json["tried"] = nlohmann::json::array();
      for (const Tried& tried : search.search.tried)
        json["tried"].push_back({{"sequences", tried.sequences},
                                 {"decode_tokens_per_s", or_null(tried.tokens_per_s)},
                                 {"itl_p95_ms", or_null(tried.itl_p95_ms)}});
      first += search.search.tried.size();
    }
  }
  return {{"name", name(report.goal)},
          {"max_itl_ms", throughput ? nlohmann::json(report.throughput.max_itl_ms) : nullptr},
          {"max_sequences", throughput ? nlohmann::json(report.throughput.max_sequences) : nullptr},
          {"searches", searches}};
}

std::string cells_csv(const BenchReport& report) {
  std::vector<std::string> line(std::begin(csv_keys), std::end(csv_keys));
  for (std::string& header : line) std::ranges::replace(header, '/', '_');
  std::string text = fmt::format("{}\r\n", fmt::join(line, ","));
  for (const BenchCell& cell : bench_cells(report)) {
    nlohmann::json json = model_json(*cell.speed);
    json["peak_rss_bytes"] = cell.model->peak_rss_bytes;
    json.update(cell_json(report, cell));
    line.clear();
    for (const char* key : csv_keys) {
      const nlohmann::json::json_pointer pointer(fmt::format("/{}", key));
      line.push_back(json.contains(pointer) ? csv_field(json[pointer]) : "");
    }
    text += fmt::format("{}\r\n", fmt::join(line, ","));
  }
  return text;
}

}  // namespace whittle
