#include "bench/reports/speed_report.h"

#include <fmt/format.h>

#include <map>

#include "bench/histogram.h"
#include "bench/reports/energy_report.h"
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

// Each key holds a median, under `spread` all of a Spread, and under `samples` a value a repeat.
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

nlohmann::json percentiles_json(const std::vector<double>& values) {
  return {{"p50", or_null(quantile(values, 0.5))},
          {"p95", or_null(quantile(values, 0.95))},
          {"p99", or_null(quantile(values, 0.99))}};
}

nlohmann::json histogram_json(const Histogram& histogram) {
  return {{"edges", histogram.edges}, {"counts", histogram.counts}};
}

// Of prompts of a file, each with the medians of its runs; else null.
nlohmann::json requests_json(const SpeedReport& report) {
  const std::vector<double> ttft = report.ttft_ms(), whole = report.request_ms();
  std::map<int64_t, std::vector<size_t>> runs;
  for (size_t i = 0; i < report.repeats.size(); ++i)
    if (const int64_t line = report.repeats[i].work.line) runs[line].push_back(i);
  nlohmann::json json;
  for (const auto& [line, indices] : runs) {
    const Workload& work = report.repeats[indices.front()].work;
    const auto median_of = [&](const std::vector<double>& values) {
      std::vector<double> own;
      for (const size_t i : indices) own.push_back(values[i]);
      return or_null(median(own));
    };
    json.push_back({{"line", line},
                    {"prompt_tokens", work.prompt_tokens},
                    {"gen_tokens", work.gen_tokens},
                    {"ttft_ms", median_of(ttft)},
                    {"request_ms", median_of(whole)}});
  }
  return json;
}

}  // namespace

nlohmann::json model_json(const SpeedReport& report) {
  return {{"name", report.name},
          {"bits_per_weight", report.size.bits_per_weight()},
          {"weights", report.size.weights},
          {"disk_bytes", report.size.disk_bytes},
          {"weights_bytes", report.weights_bytes},
          {"packings", packings_json(report.packings)},
          {"load_seconds", report.load_seconds}};
}

nlohmann::json setting_json(const SpeedReport& report) {
  nlohmann::json json = {
      {"kv_cache_bytes", report.kv_cache_bytes},
      {"decode_bytes_per_token", median(report.decode_bytes())},
      {"prefill_int8_fraction", nullptr},
      {"prefill_fp32_fraction", nullptr},
      {"itl_ms", percentiles_json(report.latencies_ms())},
      {"itl_histogram_ms", histogram_json(log_histogram(report.latencies_ms()))},
      {"ttft_percentiles_ms", percentiles_json(report.ttft_ms())},
      {"request_ms", percentiles_json(report.request_ms())},
      {"requests", requests_json(report)},
      {"shares", shares_json(report)},
      {"energy", energy_json(report)},
  };
  for (const Series& series : all_series) {
    const std::vector<double> values = (report.*series.values)();
    json[series.key] = median(values);
    json["spread"][series.key] = spread_json(spread(values));
    json["samples"][series.key] = values;
  }
  const std::vector<double> fractions = report.prefill_fraction();
  const char* fraction = report.int8 ? "prefill_int8_fraction" : "prefill_fp32_fraction";
  json[fraction] = median(fractions);
  json["spread"][fraction] = spread_json(spread(fractions));
  for (const char* key : {"prefill_int8_fraction", "prefill_fp32_fraction"})
    json["samples"][key] = key == std::string_view(fraction) ? nlohmann::json(fractions) : nlohmann::json();
  return json;
}

nlohmann::json speed_json(const SpeedReport& report) {
  nlohmann::json json = model_json(report);
  json.update(setting_json(report));
  return json;
}

nlohmann::json profiles_json(const SpeedReport& report) {
  nlohmann::json json;
  for (const PhaseProfile& phase : report.profiles) {
    json[phase.phase] = profile_json(operation_times(*phase.profile, phase.limits));
    json["watching"][phase.phase] = {{"ratio", or_null(phase.watching.mean)},
                                     {"ratio_ci95", bounds_json(phase.watching)},
                                     {"pairs", phase.pairs}};
  }
  return json;
}

std::string watching_text(const PhaseProfile& phase) {
  return fmt::format("watched, {} takes {} times as long (95 % interval: {}; {} pairs)", phase.phase,
                     format_fixed(phase.watching.mean, 3), format_interval(phase.watching, ""), phase.pairs);
}

std::string workload_text(const SpeedOptions& options) {
  const std::string context = options.context ? fmt::format("a context of {} tokens, ", options.context) : "";
  return fmt::format("{}prompt of {} tokens, then {} steps{}, {} KV cache", context, options.prompt_tokens,
                     options.gen_tokens,
                     options.sequences > 1 ? fmt::format(" of {} sequences together", options.sequences) : "",
                     name(options.kv_cache));
}

std::string timing_text(Timing timing) {
  constexpr const char* texts[] = {
      "time to first token and latencies hold tokenization, sampling and detokenization, prefill speed does "
      "not",
      "all figures hold tokenization, sampling and detokenization",
      "no figure holds tokenization, sampling or detokenization"};
  return texts[static_cast<size_t>(timing)];
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
