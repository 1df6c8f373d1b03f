#include "bench/reports/speed_report.h"

#include <fmt/format.h>

#include "bench/reports/figures.h"
#include "bench/reports/packing_report.h"
#include "bench/statistics.h"
#include "engine/kv_cache.h"

namespace whittle {
namespace {

struct Series {
  const char* key;
  std::vector<double> (SpeedReport::*values)() const;
};

// Each key holds a median, and under `spread` all of a Spread.
constexpr Series all_series[] = {
    {"ttft_ms", &SpeedReport::ttft_ms},
    {"prefill_tokens_per_s", &SpeedReport::prefill_tokens_per_s},
    {"prefill_gops", &SpeedReport::prefill_gops},
    {"decode_tokens_per_s", &SpeedReport::decode_tokens_per_s},
    {"decode_gb_per_s", &SpeedReport::decode_gb_per_s},
    {"decode_bandwidth_fraction", &SpeedReport::decode_bandwidth_fraction},
    {"adjacent_read_gb_per_s", &SpeedReport::read_gb_per_s},
    {"adjacent_arithmetic_gops", &SpeedReport::arithmetic_gops},
};

// What part of the time goes to what is not the decoder: medians over the repeats.
nlohmann::json shares_json(const SpeedReport& report) {
  std::vector<double> tokenization, first_sampling, sampling, detokenization;
  for (const SpeedRepeat& repeat : report.repeats) {
    tokenization.push_back(repeat.tokenization / repeat.ttft());
    first_sampling.push_back(repeat.first_sampling / repeat.ttft());
    sampling.push_back(repeat.sampling / repeat.decode());
    detokenization.push_back(repeat.detokenization / repeat.decode());
  }
  const auto known = [&](const std::vector<double>& values) {
    return report.has_tokenizer ? nlohmann::json(median(values)) : nlohmann::json(nullptr);
  };
  return {{"ttft_tokenization", known(tokenization)},
          {"ttft_sampling", median(first_sampling)},
          {"itl_sampling", median(sampling)},
          {"itl_detokenization", known(detokenization)}};
}

}  // namespace

nlohmann::json speed_json(const SpeedReport& report) {
  const std::vector<double> latencies = report.latencies_ms();
  nlohmann::json json = {
      {"name", report.name},
      {"bits_per_weight", report.size.bits_per_weight()},
      {"weights", report.size.weights},
      {"disk_bytes", report.size.disk_bytes},
      {"weights_bytes", report.weights_bytes},
      {"packings", packings_json(report.packings)},
      {"kv_cache_bytes", report.kv_cache_bytes},
      {"load_seconds", report.load_seconds},
      {"decode_bytes_per_token", report.decode_bytes},
      {"prefill_int8_fraction", nullptr},
      {"prefill_fp32_fraction", nullptr},
      {"itl_ms",
       {{"p50", quantile(latencies, 0.5)},
        {"p95", quantile(latencies, 0.95)},
        {"p99", quantile(latencies, 0.99)}}},
      {"shares", shares_json(report)},
  };
  for (const Series& series : all_series) {
    const std::vector<double> values = (report.*series.values)();
    json[series.key] = median(values);
    json["spread"][series.key] = spread_json(spread(values));
  }
  const std::vector<double> fractions = report.prefill_fraction();
  const char* fraction = report.int8 ? "prefill_int8_fraction" : "prefill_fp32_fraction";
  json[fraction] = median(fractions);
  json["spread"][fraction] = spread_json(spread(fractions));
  return json;
}

std::string workload_text(const SpeedOptions& options) {
  return fmt::format("prompt of {} tokens, then {} steps{}, {} KV cache", options.prompt_tokens,
                     options.gen_tokens,
                     options.sequences > 1 ? fmt::format(" of {} sequences together", options.sequences) : "",
                     name(options.kv_cache));
}

BaselineRatios baseline_ratios(const SpeedReport& report, const SpeedReport& baseline) {
  const auto ratio = [](int64_t ours, int64_t theirs) {
    return static_cast<double>(ours) / static_cast<double>(theirs);
  };
  return {median_ratio(baseline.ttft_ms(), report.ttft_ms()),
          median_ratio(report.prefill_tokens_per_s(), baseline.prefill_tokens_per_s()),
          median_ratio(report.decode_tokens_per_s(), baseline.decode_tokens_per_s()),
          ratio(report.size.disk_bytes, baseline.size.disk_bytes),
          ratio(report.weights_bytes, baseline.weights_bytes)};
}

}  // namespace whittle
