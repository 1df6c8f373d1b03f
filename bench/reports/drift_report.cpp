#include <fmt/format.h>

#include <numbers>

#include "bench/drift.h"
#include "bench/reports/table.h"

namespace whittle {
namespace {

// Bits a byte of text: the measure that compares models with different tokenizers.
std::optional<double> bits_per_byte(const DriftReport& report, double nll) {
  if (!report.bytes_scored) return std::nullopt;
  return nll * static_cast<double>(report.tokens_scored) / static_cast<double>(report.bytes_scored) /
         std::numbers::ln2;
}

nlohmann::json or_null(std::optional<double> value) {
  return value ? nlohmann::json(*value) : nlohmann::json(nullptr);
}
nlohmann::json bounds(const Interval& interval) { return {interval.low, interval.high}; }

}  // namespace

nlohmann::json drift_json(const DriftReport& report, const Windows& windows) {
  const Interval increase = report.perplexity_increase_percent();
  return {
      {"protocol", windows.protocol},
      {"context", windows.context},
      {"windows", report.windows},
      {"tokens_scored", report.tokens_scored},
      {"bytes_scored", report.bytes_scored ? nlohmann::json(report.bytes_scored) : nlohmann::json(nullptr)},
      {"perplexity",
       {{"baseline", report.baseline_perplexity()},
        {"model", report.model_perplexity()},
        {"increase_percent", increase.mean},
        {"increase_percent_ci95", bounds(increase)}}},
      {"nll", {{"baseline", report.baseline_nll}, {"model", report.model_nll}}},
      {"bits_per_byte",
       {{"baseline", or_null(bits_per_byte(report, report.baseline_nll))},
        {"model", or_null(bits_per_byte(report, report.model_nll))}}},
      {"kl",
       {{"mean", report.kl.mean},
        {"mean_ci95", bounds(report.kl)},
        {"p50", report.kl_p50},
        {"p99", report.kl_p99},
        {"max", report.kl_max}}},
      {"same_top_percent", 100 * report.same_top},
      {"rms_probability_difference_percent", 100 * report.rms_probability_difference},
      {"window_nll", {{"baseline", report.baseline_window_nll}, {"model", report.model_window_nll}}},
  };
}

std::string drift_text(const DriftReport& report, const Windows& windows) {
  Table table({{"", Align::left},
               {"baseline", Align::right},
               {"model", Align::right},
               {"95 % interval", Align::left}});
  const auto range = [](const Interval& interval, std::string_view unit) {
    return fmt::format("{:.5g} to {:.5g}{}", interval.low, interval.high, unit);
  };
  const Interval increase = report.perplexity_increase_percent();
  table.add_row({"perplexity", fmt::format("{:.5f}", report.baseline_perplexity()),
                 fmt::format("{:.5f}", report.model_perplexity()), ""});
  table.add_row({"  increase", "", fmt::format("{:+.4f} %", increase.mean), range(increase, " %")});
  if (report.bytes_scored)
    table.add_row({"bits per byte", fmt::format("{:.5f}", *bits_per_byte(report, report.baseline_nll)),
                   fmt::format("{:.5f}", *bits_per_byte(report, report.model_nll)), ""});
  table.add_row(
      {"KL(baseline || model), mean", "", fmt::format("{:.6f}", report.kl.mean), range(report.kl, "")});
  table.add_row({"  p50", "", fmt::format("{:.6f}", report.kl_p50), ""});
  table.add_row({"  p99", "", fmt::format("{:.6f}", report.kl_p99), ""});
  table.add_row({"  max", "", fmt::format("{:.6f}", report.kl_max), ""});
  table.add_row({"same top token", "", fmt::format("{:.3f} %", 100 * report.same_top), ""});
  table.add_row({"RMS change of the true token's probability", "",
                 fmt::format("{:.4f} %", 100 * report.rms_probability_difference), ""});
  table.add_note(fmt::format(
      "protocol {}, context {}, {} windows, {} tokens scored; KL in nats a token; baseline: original "
      "weights, float32 activations and KV cache",
      windows.protocol, windows.context, report.windows, report.tokens_scored));
  return table.text();
}

}  // namespace whittle
