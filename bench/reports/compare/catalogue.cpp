#include "bench/reports/compare/catalogue.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "bench/proportions.h"
#include "bench/reports/report_values.h"

namespace whittle {
namespace {

constexpr Better less = Better::less, more = Better::more, neither = Better::neither;
constexpr ChangeAs ratio = ChangeAs::ratio, difference = ChangeAs::difference;
constexpr Certainty exact = Certainty::exact;

// Sizes and counts, which have no error.
FigureSpec counted(const char* path, const char* label, const char* unit, Better better = less) {
  return {.path = path, .label = label, .unit = unit, .better = better, .certainty = exact};
}
// What was measured once, or summed up without a spread.
FigureSpec once(const char* path, const char* label, const char* unit, Better better = less) {
  return {.path = path, .label = label, .unit = unit, .better = better};
}
// What the same input always gives, but would differ with another text.
FigureSpec with_interval(const char* path, const char* interval, const char* label, const char* unit,
                         Better better, ChangeAs change = difference) {
  return {
      .path = path, .label = label, .unit = unit, .better = better, .change = change, .interval = interval};
}

// Of a mean KL divergence, and its values by window.
FigureSpec divergence(const char* path, const char* interval, const PairedSpec& windows) {
  FigureSpec figure = with_interval(path, interval, "KL divergence", "nats/token", less, ratio);
  figure.paired = windows;
  return figure;
}

// One of bench's `spread` and `samples`; `probe`: another of them, the machine's limit beside it.
FigureSpec series(const std::string& key, const char* label, const char* unit, Better better,
                  const char* probe = nullptr) {
  return {.path = "/" + key,
          .label = label,
          .unit = unit,
          .better = better,
          .samples = "/samples/" + key,
          .probe = probe ? std::string("/samples/") + probe : "",
          .spread = "/spread/" + key};
}
// A figure of several pairs: median, min and max.
FigureSpec of_pairs(const std::string& path, const char* label, const char* unit, Better better) {
  return {.path = path + "/median", .label = label, .unit = unit, .better = better, .spread = path};
}

// Of log likelihoods by window.
Interval perplexity_ratio(std::span<const double> before, std::span<const double> now) {
  std::vector<double> differences(now.size());
  std::ranges::transform(now, before, differences.begin(), std::minus());
  const Interval change = mean_interval_95(differences);
  return {std::exp(change.mean), std::exp(change.low), std::exp(change.high)};
}

// Of KL divergences by window.
Interval ratio_of_means(std::span<const double> before, std::span<const double> now) {
  std::vector<double> differences(now.size());
  std::ranges::transform(now, before, differences.begin(), std::minus());
  const Interval change = mean_interval_95(differences);
  const double base = mean(before);
  return {1 + change.mean / base, 1 + change.low / base, 1 + change.high / base};
}

// Windows of text belong together where the baseline said the same of them.
nlohmann::json baseline_windows(const nlohmann::json& item) { return value_at(item, "/window_nll/baseline"); }
nlohmann::json baseline_windows_of_bench(const nlohmann::json& item) {
  return value_at(item, "/drift/window_nll/baseline");
}
constexpr PairedSpec perplexities = {
    [](const nlohmann::json& item) { return numbers_at(item, "/window_nll/model"); }, baseline_windows,
    perplexity_ratio};
constexpr PairedSpec perplexities_of_bench = {
    [](const nlohmann::json& item) { return numbers_at(item, "/drift/window_nll/model"); },
    baseline_windows_of_bench, perplexity_ratio};
// Divergences by a stored baseline that kept only the likeliest tokens are lower bounds, each with its own
// gap.
constexpr PairedSpec divergences = {
    [](const nlohmann::json& item) { return numbers_at(item, "/window_kl"); },
    [](const nlohmann::json& item) {
      return nlohmann::json::array({baseline_windows(item), value_at(item, "/kl/mean_exact")});
    },
    ratio_of_means};
constexpr PairedSpec divergences_of_bench = {  // never by a stored baseline
    [](const nlohmann::json& item) { return numbers_at(item, "/drift/window_kl"); },
    baseline_windows_of_bench, ratio_of_means};
// Questions do where line and right answer are the same.
constexpr PairedSpec questions = {[](const nlohmann::json& item) {
                                    std::vector<double> right;
                                    for (const nlohmann::json* question : items_at(item, "/items"))
                                      right.push_back(value_at(*question, "/model/correct") == true ? 1 : 0);
                                    return right;
                                  },
                                  [](const nlohmann::json& item) {
                                    nlohmann::json asked = nlohmann::json::array({value_at(item, "/name")});
                                    for (const nlohmann::json* question : items_at(item, "/items")) {
                                      asked.push_back(value_at(*question, "/line"));
                                      asked.push_back(value_at(*question, "/answer"));
                                    }
                                    return asked;
                                  },
                                  // Accuracy gained, in points of 100.
                                  [](std::span<const double> before, std::span<const double> now) {
                                    int64_t lost = 0, won = 0;
                                    for (size_t i = 0; i < now.size(); ++i) {
                                      lost += before[i] > now[i];
                                      won += before[i] < now[i];
                                    }
                                    const Interval loss = paired_loss_interval_95(lost, won, std::ssize(now));
                                    return Interval{-100 * loss.mean, -100 * loss.high, -100 * loss.low};
                                  }};

std::vector<FigureSpec> speed_figures() {
  return {
      series("ttft_ms", "time to first token", "ms", less),
      series("prefill_tokens_per_s", "prefill", "tokens/s", more, "adjacent_arithmetic_gops"),
      series("prefill_int8_fraction", "prefill, part of the int8 probe", "", more),
      series("prefill_fp32_fraction", "prefill, part of the fp32 probe", "", more),
      series("decode_tokens_per_s", "decode", "tokens/s", more, "adjacent_read_gb_per_s"),
      series("decode_bandwidth_fraction", "decode, part of the read probe", "", more),
      once("/itl_ms/p50", "between tokens, p50", "ms"),
      once("/itl_ms/p95", "between tokens, p95", "ms"),
      once("/itl_ms/p99", "between tokens, p99", "ms"),
      once("/request_ms/p50", "whole request, p50", "ms"),
      once("/request_ms/p95", "whole request, p95", "ms"),
      once("/energy/prefill/joules_per_token", "energy of prefill", "J/token"),
      once("/energy/decode/joules_per_token", "energy of decoding", "J/token"),
      counted("/kv_cache_bytes", "KV cache", "bytes"),
      counted("/decode_bytes_per_token", "read for a step", "bytes"),
      series("adjacent_read_gb_per_s", "probe: reading memory", "GB/s", neither),
      series("adjacent_arithmetic_gops", "probe: arithmetic", "GOPS", neither),
  };
}

// Of one model and one text.
std::vector<FigureSpec> drift_figures() {
  return {
      {.path = "/perplexity/model", .label = "perplexity", .better = less, .paired = perplexities},
      with_interval("/perplexity/increase_percent", "/perplexity/increase_percent_ci95",
                    "perplexity above the baseline's", "%", less),
      divergence("/kl/mean", "/kl/mean_ci95", divergences),
      once("/kl/p99", "KL divergence, p99", "nats"),
      once("/kl/max", "KL divergence, largest", "nats"),
      {.path = "/same_top_percent",
       .label = "same top token",
       .unit = "%",
       .better = more,
       .change = difference},
      once("/bits_per_byte/model", "bits a byte", ""),
      {.path = "/rms_probability_difference_percent",
       .label = "change of the true token's probability, rms",
       .unit = "%",
       .better = less,
       .change = difference},
      counted("/tokens_scored", "tokens scored", "", neither),
      counted("/windows", "windows", "", neither),
  };
}

std::vector<FigureSpec> answer_figures() {
  return {
      {.path = "/model/accuracy_percent",
       .label = "accuracy",
       .unit = "%",
       .better = more,
       .change = difference,
       .interval = "/model/accuracy_percent_ci95",
       .paired = questions},
      with_interval("/model/accuracy_normalized_percent", "/model/accuracy_normalized_percent_ci95",
                    "accuracy by likelihood a character", "%", more),
      {.path = "/model/f1", .label = "F1", .unit = "", .better = more, .change = difference},
      {.path = "/model/matthews",
       .label = "Matthews' correlation",
       .unit = "",
       .better = more,
       .change = difference},
      once("/model/perplexity", "perplexity of last words", ""),
      with_interval("/baseline/accuracy_percent", "/baseline/accuracy_percent_ci95",
                    "the baseline's accuracy", "%", neither),
      with_interval("/comparison/loss_points", "/comparison/loss_points_ci95", "accuracy lost", "points",
                    less),
      counted("/comparison/right_to_wrong", "answers gone from right to wrong", ""),
      counted("/comparison/wrong_to_right", "answers gone from wrong to right", "", more),
      once("/comparison/mcnemar_p", "McNemar's exact p", "", neither),
      counted("/count", "items", "", neither),
  };
}

ItemSpec machine_item() {
  return {{"/machine"},
          "machine",
          {},
          {once("/read_gb_per_s", "machine: reading memory", "GB/s", more),
           once("/int8_gops", "machine: int8 arithmetic", "GOPS", more),
           once("/fp32_gflops", "machine: fp32 arithmetic", "GFLOPS", more),
           once("/bf16_gflops", "machine: bf16 arithmetic", "GFLOPS", more)}};
}

std::vector<FigureSpec> held_out_figures() {
  return {with_interval("/held_out/kl", "/held_out/kl_ci95", "KL divergence on held-out text", "nats/token",
                        less, ratio),
          once("/held_out/perplexity", "perplexity of held-out text", ""),
          counted("/source_bytes", "source", "bytes", neither),
          counted("/written_bytes", "written", "bytes")};
}

std::vector<FigureSpec> joined(std::vector<FigureSpec> first, const std::vector<FigureSpec>& then) {
  first.insert(first.end(), then.begin(), then.end());
  return first;
}

std::vector<ReportKind> make_kinds() {
  const std::vector<KeySpec> setting = {
      {"/model", "model"},
      {"/threads", "threads", "threads {}"},
      {"/kv_cache", "kv cache", "{} KV cache"},
      {"/context", "context", "context {}"},
      {"/sequences", "sequences", "sequences {}"},
      {"/prompt_tokens", "prompt tokens", "prompt {}"},
      {"/gen_tokens", "gen tokens", "steps {}"},
  };
  const std::vector<KeySpec> model_and_text = {{"/model", "model"}, {"/text", "text"}};
  return {
      {"whittle.bench",
       "Speed and size",
       {{{"/models"},
         "model",
         {{"/name", "model"}},
         {counted("/disk_bytes", "on disk", "bytes"),
          counted("/weights_bytes", "packed weights", "bytes"),
          once("/peak_rss_bytes", "peak memory", "bytes"),
          counted("/bits_per_weight", "bits a weight", ""),
          once("/load_seconds", "load time", "s"),
          divergence("/drift/kl/mean", "/drift/kl/mean_ci95", divergences_of_bench),
          {.path = "/drift/perplexity/model",
           .label = "perplexity",
           .better = less,
           .paired = perplexities_of_bench},
          {.path = "/drift/same_top_percent",
           .label = "same top token",
           .unit = "%",
           .better = more,
           .change = difference},
          once("/against_baseline/ttft_speedup", "first token, × baseline", "×", more),
          once("/against_baseline/prefill_speedup", "prefill, × baseline", "×", more),
          once("/against_baseline/decode_speedup", "decode, × baseline", "×", more)}},
        {{"/cells"}, "cell", setting, speed_figures()},
        machine_item()}},
      {"whittle.drift",
       "Drift",
       {{{"", "/reports"}, "report", model_and_text, drift_figures()},
        {{"/means"}, "all texts", {{"/model", "model", "{}, all texts"}}, drift_figures()}}},
      {"whittle.tasks",
       "Answers",
       {{{"/tasks"}, "task", {{"/name", "task"}, {"/shots", "shots", "{} shots"}}, answer_figures()}}},
      {"whittle.gate",
       "Gate",
       {{{"/checks"},
         "check",
         {{"/name", "check"}},
         {{.path = "/change",
           .label = "worse by",
           .better = less,
           .change = difference,
           .interval = "/change_interval",
           .unit_path = "/change_unit"},
          {.path = "/budget",
           .label = "budget",
           .change = difference,
           .certainty = exact,
           .unit_path = "/change_unit"},
          {.path = "/before", .label = "before", .unit = "", .unit_path = "/unit"},
          {.path = "/now", .label = "now", .unit = "", .unit_path = "/unit"}}}}},
      {"whittle.gate-baseline",
       "Stored gate baseline",
       {{{""},
         "baseline",
         {{"/inputs/model", "model"}},
         {counted("/size/disk_bytes", "on disk", "bytes"),
          counted("/size/weights_bytes", "packed weights", "bytes"),
          counted("/size/kv_cache_bytes", "KV cache", "bytes"),
          once("/size/peak_rss_bytes", "peak memory", "bytes"),
          once("/accuracy/kl_p50", "KL divergence, p50", "nats"),
          once("/accuracy/kl_p99", "KL divergence, p99", "nats"),
          once("/accuracy/kl_max", "KL divergence, largest", "nats")}}}},
      {"whittle.estimate",
       "Estimate",
       {{{"/formats"},
         "format",
         {{"/name", "format"}},
         {counted("/file_bytes", "files", "bytes"),
          once("/peak_rss_bytes", "peak memory", "bytes"),
          once("/running_bytes", "memory, running", "bytes"),
          once("/loading_bytes", "memory, loading", "bytes"),
          counted("/weights_bytes", "packed weights", "bytes"),
          counted("/kv_cache_bytes", "KV cache", "bytes"),
          counted("/missing_bytes", "memory missing", "bytes"),
          {.path = "/decode_tokens_per_s",
           .label = "decode",
           .unit = "tokens/s",
           .better = more,
           .range = "/decode_tokens_per_s_range"},
          {.path = "/prefill_tokens_per_s",
           .label = "prefill",
           .unit = "tokens/s",
           .better = more,
           .range = "/prefill_tokens_per_s_range"},
          once("/ttft_ms", "time to first token", "ms")}}}},
      {"whittle.soak",
       "Soak",
       {{{""},
         "run",
         {{"/model", "model"}},
         {counted("/answers_changed", "answers that changed", ""),
          with_interval("/anonymous_bytes/change", "/anonymous_bytes/change_ci95", "memory, growth", "bytes",
                        less),
          once("/anonymous_bytes/mean", "memory, mean", "bytes"),
          with_interval("/decode_percent/change", "/decode_percent/change_ci95", "time a token, growth", "%",
                        less),
          once("/decode_percent/mean", "time a token, mean", "ms"),
          with_interval("/clock_mhz/change", "/clock_mhz/change_ci95", "clock, change", "MHz", neither),
          with_interval("/temperature_c/change", "/temperature_c/change_ci95", "temperature, change", "°C",
                        less),
          once("/seconds", "time", "s", neither), counted("/rounds", "rounds", "", neither),
          counted("/answers", "answers", "", neither), counted("/tokens", "tokens", "", neither)}}}},
      {"whittle.frontier",
       "Frontier",
       {{{"/recipes"},
         "recipe",
         {{"/name", "recipe"}},
         {counted("/disk_bytes", "on disk", "bytes"),
          once("/peak_rss_bytes", "peak memory", "bytes"),
          counted("/weights_bytes", "packed weights", "bytes"),
          counted("/bits_per_weight", "bits a weight", ""),
          with_interval("/kl", "/kl_ci95", "KL divergence", "nats/token", less, ratio),
          once("/perplexity", "perplexity", ""),
          with_interval("/perplexity_increase_percent", "/perplexity_increase_percent_ci95",
                        "perplexity above the original's", "%", less),
          {.path = "/same_top_percent",
           .label = "same top token",
           .unit = "%",
           .better = more,
           .change = difference},
          with_interval("/decode_speedup", "/decode_speedup_ci95", "decode, × original", "×", more, ratio),
          with_interval("/prefill_speedup", "/prefill_speedup_ci95", "prefill, × original", "×", more, ratio),
          once("/decode_tokens_per_s", "decode", "tokens/s", more),
          once("/prefill_tokens_per_s", "prefill", "tokens/s", more)}},
        machine_item()}},
      {"whittle.machine", "Machine", {machine_item()}},
      {"whittle.quantize",
       "Quantization",
       {{{""},
         "model",
         {{"/recipe", "recipe"}},
         joined({counted("/bits_per_weight", "bits a weight, of quantized modules", ""),
                 counted("/relative_error", "relative error of weights", ""),
                 counted("/zeros", "weights that are zero, part", "", neither),
                 counted("/modules", "modules", "", neither)},
                held_out_figures())},
        {{"/output_errors"},
         "module",
         {{"/module", "module"}},
         {counted("/relative_error", "relative error of its outputs", "")}}}},
      {"whittle.quantize-budgets",
       "Budgets of bits",
       {{{"/frontier"},
         "budget",
         {{"/target_bits", "target", "{} bits"}},
         {counted("/bits_per_weight", "bits a weight", ""),
          once("/predicted_kl", "predicted KL divergence", "nats/token"),
          with_interval("/held_out/kl", "/held_out/kl_ci95", "KL divergence on held-out text", "nats/token",
                        less, ratio)}}}},
      {"whittle.prune",
       "Pruning",
       {{{""},
         "model",
         {{"/recipe", "recipe"}},
         joined({counted("/weights", "weights of linears", ""),
                 counted("/kv_bytes_per_token", "KV cache, a token", "bytes"),
                 counted("/zeros", "weights that are zero, part", "", neither)},
                held_out_figures())}}},
      {"whittle.inspect",
       "Model",
       {{{""},
         "model",
         {},
         {counted("/disk_bytes", "on disk", "bytes"), counted("/bits_per_weight", "bits a weight", ""),
          counted("/weights", "weights", "", neither),
          counted("/memory/weights_bytes", "packed weights", "bytes"),
          counted("/memory/kv_cache_bytes", "KV cache", "bytes")}}}},
      {"whittle.generate",
       "Generated text",
       {{{""},
         "run",
         {},
         {once("/ttft_ms", "time to first token", "ms"),
          once("/prefill_tokens_per_s", "prefill", "tokens/s", more),
          once("/decode_tokens_per_s", "decode", "tokens/s", more),
          counted("/prompt_tokens", "prompt tokens", "", neither)}}}},
      {"whittle.compare-peers",
       "Other engines",
       {{{"/cells"},
         "pair",
         {{"/model", "model"}, {"/peer", "peer", "against {}"}, {"/peer_model", "peer's model"}},
         {of_pairs("/prefill/ratio", "prefill, × peer", "×", more),
          of_pairs("/decode/ratio", "decode, × peer", "×", more),
          of_pairs("/prefill/ours_tokens_per_s", "prefill", "tokens/s", more),
          of_pairs("/prefill/peer_tokens_per_s", "prefill of the peer", "tokens/s", neither),
          of_pairs("/decode/ours_tokens_per_s", "decode", "tokens/s", more),
          of_pairs("/decode/peer_tokens_per_s", "decode of the peer", "tokens/s", neither),
          counted("/kept", "pairs kept", "", neither), counted("/dropped", "pairs dropped", "", neither)}}}},
  };
}

}  // namespace

std::span<const ReportKind> report_kinds() {
  static const std::vector<ReportKind> kinds = make_kinds();
  return kinds;
}

const ReportKind* report_kind(std::string_view schema) {
  const auto kind = std::ranges::find(report_kinds(), schema, &ReportKind::schema);
  return kind == report_kinds().end() ? nullptr : &*kind;
}

}  // namespace whittle
