#include <fmt/format.h>

#include <algorithm>

#include "bench/reports/figures.h"
#include "bench/reports/packing_report.h"
#include "bench/reports/speed_report.h"
#include "bench/reports/table.h"
#include "bench/reports/trace.h"
#include "bench/statistics.h"
#include "bench/summary.h"
#include "engine/kv_cache.h"

namespace whittle {
namespace {

// The rows of the table, in order; empty cells where a figure does not exist.
constexpr const char* row_names[] = {
    "bits per weight",
    "size on disk",
    "peak memory",
    "  packed weights",
    "  KV cache",
    "load time",
    "time to first token",
    "prefill",
    "  of the arithmetic peak",
    "decode",
    "  moving",
    "  of the read bandwidth",
    "  latency p50",
    "  latency p95 / p99",
    "perplexity",
    "KL divergence",
    "same top token",
};

std::string times(double ratio) { return fmt::format("  {}×", format_number(ratio)); }

// The median's digits as `show` gives them, and the typical deviation from it.
std::string with_spread(std::span<const double> values, const std::function<std::string(double)>& show) {
  const Spread found = spread(values);
  return fmt::format("{} ±{} %", show(found.median),
                     format_fixed(100 * found.median_absolute_deviation / found.median, 0));
}

double as_double(int64_t value) { return static_cast<double>(value); }

// A model's column, cell by cell as in row_names. Without a baseline, or for the baseline itself, no
// comparison.
std::vector<std::string> cells(const ModelSummary& model, const ModelSummary* baseline, double perplexity) {
  const SpeedReport& speed = model.speed;
  const std::vector<double> latencies = speed.latencies_ms();
  const auto in_ms = [](double value) { return format_seconds(1e-3 * value); };
  const auto tokens_per_s = [](double value) { return format_rate(value, "tok/s"); };
  const auto latency = [&](double q) { return in_ms(quantile(latencies, q)); };
  std::optional<BaselineRatios> against;
  if (baseline) against = baseline_ratios(speed, baseline->speed);
  const auto than = [&](double BaselineRatios::*ratio) {
    return against ? times((*against).*ratio) : std::string();
  };
  const std::string than_peak =
      baseline ? times(as_double(model.peak_rss_bytes) / as_double(baseline->peak_rss_bytes)) : std::string();

  std::vector<std::string> column = {
      format_fixed(speed.size.bits_per_weight(), 2),
      format_bytes(as_double(speed.size.disk_bytes)) + than(&BaselineRatios::disk),
      format_bytes(as_double(model.peak_rss_bytes)) + than_peak,
      format_bytes(as_double(speed.weights_bytes)) + than(&BaselineRatios::weights),
      format_bytes(as_double(speed.kv_cache_bytes)),
      format_seconds(speed.load_seconds),
      with_spread(speed.ttft_ms(), in_ms) + than(&BaselineRatios::ttft),
      with_spread(speed.prefill_tokens_per_s(), tokens_per_s) + than(&BaselineRatios::prefill),
      format_percent(median(speed.prefill_fraction())) + (speed.int8 ? " int8" : " fp32"),
      with_spread(speed.decode_tokens_per_s(), tokens_per_s) + than(&BaselineRatios::decode),
      format_rate(median(speed.decode_gb_per_s()), "GB/s"),
      format_percent(median(speed.decode_bandwidth_fraction())),
      latency(0.5),
      latency(0.95) + " / " + latency(0.99),
  };
  if (model.drift) {
    column.push_back(format_fixed(model.drift->model_perplexity(), 4) + "  " +
                     format_signed(model.drift->perplexity_increase_percent().mean, 3) + " %");
    column.push_back(format_fixed(model.drift->kl.mean, 6));
    column.push_back(format_fixed(100 * model.drift->same_top, 2) + " %");
  } else if (perplexity > 0) {
    column.insert(column.end(), {format_fixed(perplexity, 4), "", ""});
  }
  return column;
}

int64_t width(const std::string& name, const std::vector<std::string>& column) {
  int64_t widest = display_width(name);
  for (const std::string& cell : column) widest = std::max(widest, display_width(cell));
  return widest;
}

void add_notes(Table& table, const BenchReport& report) {
  const SpeedOptions& options = report.options;
  const Machine& machine = report.machine.machine;
  const Limits& limits = report.machine.limits;
  table.add_note(fmt::format("{}, {} threads, {}: reads {}, int8 {}, fp32 {}", machine.cpu, limits.threads,
                             report.machine.isa_chosen, format_rate(limits.read_gb_per_s.median, "GB/s"),
                             format_rate(limits.int8_gops.median, "GOPS"),
                             format_rate(limits.fp32_gflops.median, "GFLOPS")));
  table.add_note(fmt::format("{}; medians of {} repeats ± median absolute deviation{}",
                             workload_text(options), options.repeat,
                             report.alternated ? "" : "; too little memory to alternate between models"));
  table.add_note("fractions are of the machine's limits as probed beside each repeat, not as above");
  const int64_t cache = machine.last_level_cache_bytes();
  if (std::ranges::any_of(report.models,
                          [&](const ModelSummary& model) { return model.speed.weights_bytes < cache; }))
    table.add_note(
        fmt::format("weights that fit into the last-level cache ({}) can be read faster than memory",
                    format_bytes(as_double(cache))));
  for (const ModelSummary& model : report.models)
    for (const PackingCount& count : model.speed.packings)
      table.add_note(fmt::format("{}: {}", model.speed.name, packing_text(count)));
  if (report.has_baseline)
    table.add_note(
        "×: how many times as fast, or as large, as the baseline (first column), from pairs of repeats");
  if (const std::vector<std::vector<int32_t>>& windows = report.windows.ids; !windows.empty())
    table.add_note(fmt::format(
        "drift: protocol {}, context {}, {} windows; KL in nats a token against the baseline with float32 "
        "KV cache",
        report.windows.protocol, report.windows.context, windows.size()));
}

}  // namespace

nlohmann::json bench_json(const BenchReport& report) {
  nlohmann::json models = nlohmann::json::array();
  const ModelSummary* baseline = report.has_baseline ? &report.models.front() : nullptr;
  for (const ModelSummary& model : report.models) {
    nlohmann::json& json = models.emplace_back(speed_json(model.speed));
    json["peak_rss_bytes"] = model.peak_rss_bytes;
    json["is_baseline"] = &model == baseline;
    json["drift"] = model.drift ? drift_json(*model.drift, report.windows, {}) : nlohmann::json(nullptr);
    json["against_baseline"] = nullptr;
    json["profile"] = nullptr;
    for (const PhaseProfile& phase : model.speed.profiles)
      json["profile"][phase.phase] = profile_json(operation_times(*phase.profile, phase.limits));
    if (!baseline || &model == baseline) continue;
    const BaselineRatios against = baseline_ratios(model.speed, baseline->speed);
    json["against_baseline"] = {
        {"ttft_speedup", against.ttft},
        {"prefill_speedup", against.prefill},
        {"decode_speedup", against.decode},
        {"disk_ratio", against.disk},
        {"weights_ratio", against.weights},
        {"peak_rss_ratio", as_double(model.peak_rss_bytes) / as_double(baseline->peak_rss_bytes)},
    };
  }
  return {
      {"machine", machine_json(report.machine)},
      {"protocol",
       {{"threads", report.machine.limits.threads},
        {"isa", report.machine.isa_chosen},
        {"prompt_tokens", report.options.prompt_tokens},
        {"gen_tokens", report.options.gen_tokens},
        {"sequences", report.options.sequences},
        {"repeat", report.options.repeat},
        {"kv_cache", name(report.options.kv_cache)},
        {"alternated", report.alternated}}},
      {"models", models},
  };
}

std::string bench_text(const BenchReport& report) {
  const ModelSummary* baseline = report.has_baseline ? &report.models.front() : nullptr;
  double perplexity = 0;
  for (const ModelSummary& model : report.models)
    if (model.drift) perplexity = model.drift->baseline_perplexity();

  std::vector<std::vector<std::string>> columns;
  for (const ModelSummary& model : report.models)
    columns.push_back(cells(model, &model == baseline ? nullptr : baseline, perplexity));
  int64_t label_width = 0;
  for (const char* row : row_names) label_width = std::max(label_width, display_width(row));

  std::string text;
  for (size_t first = 0; first < columns.size();) {
    std::vector<Column> headers = {{"", Align::left}};
    int64_t used = label_width;
    size_t end = first;
    for (; end < columns.size(); ++end) {
      const std::string& model = report.models[end].speed.name;
      used += 2 + width(model, columns[end]);
      if (end > first && used > report_width) break;
      headers.push_back({model, Align::left});
    }
    Table table(headers);
    for (size_t row = 0; row < columns[first].size(); ++row) {
      std::vector<std::string> line = {row_names[row]};
      for (size_t column = first; column < end; ++column) line.push_back(columns[column][row]);
      table.add_row(line);
    }
    if (end == columns.size()) add_notes(table, report);
    if (first) text += '\n';
    text += table.text();
    first = end;
  }
  return text;
}

std::string bench_profile_text(const BenchReport& report) {
  std::string text;
  for (const ModelSummary& model : report.models)
    for (const PhaseProfile& phase : model.speed.profiles)
      text += '\n' + profile_text(fmt::format("{}, {}", model.speed.name, phase.phase),
                                  operation_times(*phase.profile, phase.limits));
  return text;
}

nlohmann::json bench_trace(const BenchReport& report) {
  std::vector<TracedProfile> profiles;
  for (const ModelSummary& model : report.models)
    for (const PhaseProfile& phase : model.speed.profiles)
      profiles.push_back({fmt::format("{}, {}", model.speed.name, phase.phase), phase.profile.get()});
  return trace_json(profiles);
}

}  // namespace whittle
