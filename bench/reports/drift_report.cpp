#include <fmt/format.h>

#include <numbers>

#include "bench/drift/drift.h"
#include "bench/reports/figures.h"
#include "bench/reports/table.h"

namespace whittle {
namespace {

// Bits a byte of text: the measure that compares models with different tokenizers.
std::optional<double> bits_per_byte(const DriftReport& report, double nll) {
  if (!report.bytes_scored) return std::nullopt;
  return nll * static_cast<double>(report.tokens_scored) / static_cast<double>(report.bytes_scored) /
         std::numbers::ln2;
}

}  // namespace

nlohmann::json drift_json(const DriftReport& report, const Windows& windows, std::span<const Gate> gates) {
  const Interval increase = report.perplexity_increase_percent();
  return {
      {"protocol", windows.protocol},
      {"context", windows.context},
      {"windows", report.windows},
      {"tokens_scored", report.tokens_scored},
      {"bytes_scored", report.bytes_scored ? nlohmann::json(report.bytes_scored) : nlohmann::json(nullptr)},
      {"perplexity",
       {{"baseline", or_null(report.baseline_perplexity())},
        {"model", or_null(report.model_perplexity())},
        {"increase_percent", or_null(increase.mean)},
        {"increase_percent_ci95", bounds_json(increase)}}},
      {"nll", {{"baseline", or_null(report.baseline_nll)}, {"model", or_null(report.model_nll)}}},
      {"bits_per_byte",
       {{"baseline", or_null(bits_per_byte(report, report.baseline_nll))},
        {"model", or_null(bits_per_byte(report, report.model_nll))}}},
      {"kl",
       {{"mean", or_null(report.kl.mean)},
        {"mean_ci95", bounds_json(report.kl)},
        {"mean_exact", report.kl_exact ? bounds_json(*report.kl_exact) : nlohmann::json(nullptr)},
        {"p50", or_null(report.kl_p50)},
        {"p99", or_null(report.kl_p99)},
        {"max", or_null(report.kl_max)}}},
      {"same_top_percent", or_null(100 * report.same_top)},
      {"rms_probability_difference_percent", or_null(100 * report.rms_probability_difference)},
      {"window_nll", {{"baseline", report.baseline_window_nll}, {"model", report.model_window_nll}}},
      {"window_kl", report.window_kl},
      {"gates", gates_json(gates)},
  };
}

std::string drift_text(const DriftReport& report, const Windows& windows) {
  Table table({{"", Align::left},
               {"baseline", Align::right},
               {"model", Align::right},
               {"95 % interval", Align::left}});
  const auto both = [&](const char* row, double baseline, double model) {
    table.add_row({row, format_fixed(baseline, 5), format_fixed(model, 5), ""});
  };
  const auto one = [&](const char* row, const std::string& model, const std::string& interval = "") {
    table.add_row({row, "", model, interval});
  };
  const Interval increase = report.perplexity_increase_percent();
  both("perplexity", report.baseline_perplexity(), report.model_perplexity());
  one("  increase", format_signed(increase.mean, 4) + " %", format_interval(increase, " %"));
  if (report.bytes_scored)
    both("bits per byte", *bits_per_byte(report, report.baseline_nll),
         *bits_per_byte(report, report.model_nll));
  one("KL(baseline || model), mean", format_fixed(report.kl.mean, 6), format_interval(report.kl, ""));
  if (report.kl_exact) one("  error by storing, at most", format_fixed(report.storage_error(), 6));
  one("  p50", format_fixed(report.kl_p50, 6));
  one("  p99", format_fixed(report.kl_p99, 6));
  one("  max", format_fixed(report.kl_max, 6));
  one("same top token", format_fixed(100 * report.same_top, 3) + " %");
  one("RMS change of the true token's probability",
      format_fixed(100 * report.rms_probability_difference, 4) + " %");
  if (report.kl_exact)
    table.add_note(fmt::format("the baseline was stored; its exact mean KL lies from {}",
                               format_interval(*report.kl_exact, "")));
  if (report.windows == 1) table.add_note("a single window has no interval: a longer text gives more");
  table.add_note(fmt::format(
      "protocol {}, context {}, {} windows, {} tokens scored; KL in nats a token; baseline: original "
      "weights, float32 activations and KV cache",
      windows.protocol, windows.context, report.windows, report.tokens_scored));
  return table.text();
}

}  // namespace whittle
