#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "bench/reports/cells.h"
#include "bench/reports/cells_report.h"
#include "bench/reports/energy_report.h"
#include "bench/reports/figures.h"
#include "bench/reports/json_report.h"
#include "bench/reports/packing_report.h"
#include "bench/reports/speed_report.h"
#include "bench/reports/table.h"
#include "bench/reports/trace.h"
#include "bench/statistics.h"
#include "bench/summary.h"

namespace whittle {
namespace {

struct Row {
  const char* name;
  std::string cell;  // empty where the figure does not exist
};

std::string times(double ratio) { return fmt::format("  {}×", format_number(ratio)); }

// The median's digits as `show` gives them, and the typical deviation from it.
std::string with_spread(std::span<const double> values, const std::function<std::string(double)>& show) {
  const Spread found = spread(values);
  return fmt::format("{} ±{} %", show(found.median),
                     format_fixed(100 * found.median_absolute_deviation / found.median, 0));
}

double as_double(int64_t value) { return static_cast<double>(value); }

// A model's column. Without a baseline, or for the baseline itself, no comparison. The same rows for all
// models: `perplexity` is the baseline's, 0 where no drift was measured; `energy`: known for all.
std::vector<Row> rows(const ModelSummary& model, const ModelSummary* baseline, double perplexity,
                      bool energy) {
  const SpeedReport& speed = model.speed();
  const std::vector<double> latencies = speed.latencies_ms();
  const auto in_ms = [](double value) { return format_seconds(1e-3 * value); };
  const auto tokens_per_s = [](double value) { return format_rate(value, "tok/s"); };
  const auto latency = [&](double q) { return in_ms(quantile(latencies, q)); };
  std::optional<BaselineRatios> against;
  if (baseline) against = baseline_ratios(speed, baseline->speed());
  const auto than = [&](double BaselineRatios::*ratio) {
    return against ? times((*against).*ratio) : std::string();
  };
  const std::string than_peak =
      baseline ? times(as_double(model.peak_rss_bytes) / as_double(baseline->peak_rss_bytes)) : std::string();

  std::vector<Row> column = {
      {"bits per weight", format_fixed(speed.size.bits_per_weight(), 2)},
      {"size on disk", format_bytes(as_double(speed.size.disk_bytes)) + than(&BaselineRatios::disk)},
      {"peak memory", format_bytes(as_double(model.peak_rss_bytes)) + than_peak},
      {"  packed weights", format_bytes(as_double(speed.weights_bytes)) + than(&BaselineRatios::weights)},
      {"  KV cache", format_bytes(as_double(speed.kv_cache_bytes))},
      {"load time", format_seconds(speed.load_seconds)},
      {"time to first token", with_spread(speed.ttft_ms(), in_ms) + than(&BaselineRatios::ttft)},
      {"prefill", with_spread(speed.prefill_tokens_per_s(), tokens_per_s) + than(&BaselineRatios::prefill)},
      {"  of the arithmetic peak",
       format_percent(median(speed.prefill_fraction())) + (speed.int8 ? " int8" : " fp32")},
      {"decode", with_spread(speed.decode_tokens_per_s(), tokens_per_s) + than(&BaselineRatios::decode)},
      {"  moving", format_rate(median(speed.decode_gb_per_s()), "GB/s")},
      {"  of the read bandwidth", format_percent(median(speed.decode_bandwidth_fraction()))},
      {"  latency p50", latency(0.5)},
      {"  latency p95 / p99", latency(0.95) + " / " + latency(0.99)},
  };
  for (const auto& [name, phase] : {std::pair("energy a prompt token", &RepeatEnergy::prefill),
                                    std::pair("energy a decoded token", &RepeatEnergy::decode)})
    if (energy) column.push_back({name, energy_text(*token_energy(speed, phase))});
  const auto drift = [&](const std::string& first, const std::string& second, const std::string& third) {
    column.push_back({"perplexity", first});
    column.push_back({"KL divergence", second});
    column.push_back({"same top token", third});
  };
  if (model.drift)
    drift(format_fixed(model.drift->model_perplexity(), 4) + "  " +
              format_signed(model.drift->perplexity_increase_percent().mean, 3) + " %",
          format_fixed(model.drift->kl.mean, 6), format_fixed(100 * model.drift->same_top, 2) + " %");
  else if (perplexity > 0)
    drift(format_fixed(perplexity, 4), "", "");
  return column;
}

int64_t width(const std::string& name, const std::vector<Row>& column) {
  int64_t widest = display_width(name);
  for (const Row& row : column) widest = std::max(widest, display_width(row.cell));
  return widest;
}

// Of what is measured once whatever the points.
void add_drift_note(Table& table, const BenchReport& report) {
  if (const std::vector<std::vector<int32_t>>& windows = report.windows.ids; !windows.empty())
    table.add_note(fmt::format(
        "drift: protocol {}, context {}, {} windows; KL in nats a token against the baseline with float32 "
        "KV cache",
        report.windows.protocol, report.windows.context, windows.size()));
}

void add_notes(Table& table, const BenchReport& report) {
  const SpeedOptions& options = report.points.front().speed;
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
                          [&](const ModelSummary& model) { return model.speed().weights_bytes < cache; }))
    table.add_note(
        fmt::format("weights that fit into the last-level cache ({}) can be read faster than memory",
                    format_bytes(as_double(cache))));
  for (const ModelSummary& model : report.models)
    for (const PackingCount& count : model.speed().packings)
      table.add_note(fmt::format("{}: {}", model.speed().name, packing_text(count)));
  if (report.has_baseline)
    table.add_note(
        "×: how many times as fast, or as large, as the baseline (first column), from pairs of repeats");
  if (options.timing != Timing::usual) table.add_note(timing_text(options.timing));
  if (const auto& missing = report.models.front().speed().energy_missing; missing && !missing->empty())
    table.add_note("energy is not available: " + *missing);
  add_drift_note(table, report);
}

// Size and drift, of which cells know nothing.
std::string models_text(const BenchReport& report) {
  std::vector<Column> columns = {
      {"model", Align::left}, {"bits per weight"}, {"size on disk"}, {"peak memory"}};
  double perplexity = 0;
  for (const ModelSummary& model : report.models)
    if (model.drift) perplexity = model.drift->baseline_perplexity();
  if (perplexity > 0) columns.insert(columns.end(), {{"perplexity"}, {"KL divergence"}});
  Table table(columns);
  for (const ModelSummary& model : report.models) {
    const SpeedReport& speed = model.speed();
    std::vector<std::string> row = {speed.name, format_fixed(speed.size.bits_per_weight(), 2),
                                    format_bytes(as_double(speed.size.disk_bytes)),
                                    format_bytes(as_double(model.peak_rss_bytes))};
    if (perplexity > 0) {
      row.push_back(format_fixed(model.drift ? model.drift->model_perplexity() : perplexity, 4));
      row.push_back(model.drift ? format_fixed(model.drift->kl.mean, 6) : "");
    }
    table.add_row(row);
  }
  add_drift_note(table, report);
  return table.text();
}

std::string columns_text(const BenchReport& report) {
  const ModelSummary* baseline = report.has_baseline ? &report.models.front() : nullptr;
  double perplexity = 0;
  for (const ModelSummary& model : report.models)
    if (model.drift) perplexity = model.drift->baseline_perplexity();

  const bool energy = std::ranges::all_of(report.models, [](const ModelSummary& model) {
    return token_energy(model.speed(), &RepeatEnergy::decode).has_value();
  });
  std::vector<std::vector<Row>> columns;
  int64_t label_width = 0;
  for (const ModelSummary& model : report.models)
    columns.push_back(rows(model, &model == baseline ? nullptr : baseline, perplexity, energy));
  for (const Row& row : columns.front()) label_width = std::max(label_width, display_width(row.name));

  std::string text;
  for (size_t first = 0; first < columns.size();) {
    std::vector<Column> headers = {{"", Align::left}};
    int64_t used = label_width;
    size_t end = first;
    for (; end < columns.size(); ++end) {
      const std::string& model = report.models[end].speed().name;
      used += 2 + width(model, columns[end]);
      if (end > first && used > report_width) break;
      headers.push_back({model, Align::left});
    }
    Table table(headers);
    for (size_t row = 0; row < columns[first].size(); ++row) {
      std::vector<std::string> line = {columns[first][row].name};
      for (size_t column = first; column < end; ++column) line.push_back(columns[column][row].cell);
      table.add_row(line);
    }
    if (end == columns.size()) add_notes(table, report);
    if (first) text += '\n';
    text += table.text();
    first = end;
  }
  return text;
}

// What stands in `protocol` where all points agree; else null: look at the cells.
nlohmann::json protocol_json(const BenchReport& report) {
  const SpeedOptions& options = report.points.front().speed;
  nlohmann::json json = {{"threads", nullptr},
                         {"isa", report.machine.isa_chosen},
                         {"repeat", options.repeat},
                         {"timing", name(options.timing)},
                         {"prompts", report.prompts ? nlohmann::json(report.prompts) : nullptr},
                         {"alternated", report.alternated}};
  const std::vector<BenchCell> cells = bench_cells(report);
  for (const CellSetting& setting : cell_settings())
    json[setting.key] = differs(setting, cells) || (report.prompts && setting.of_prompt)
                            ? nlohmann::json(nullptr)
                            : setting.value(*cells.front().speed);
  return json;
}

}  // namespace

nlohmann::json bench_json(const BenchReport& report, const Fingerprint& fingerprint) {
  nlohmann::json models = nlohmann::json::array();
  const ModelSummary* baseline = report.has_baseline ? &report.models.front() : nullptr;
  for (const ModelSummary& model : report.models) {
    nlohmann::json& json = models.emplace_back(setting_json(model.speed()));
    if (!report.single())
      for (nlohmann::json& value : json) value = nullptr;  // each cell has its own
    json.update(model_json(model.speed()));
    json["peak_rss_bytes"] = model.peak_rss_bytes;
    json["is_baseline"] = &model == baseline;
    json["drift"] = model.drift ? drift_json(*model.drift, report.windows, {}) : nlohmann::json(nullptr);
    json["against_baseline"] = nullptr;
    json["profile"] = report.single() ? profiles_json(model.speed()) : nullptr;
    if (!baseline || &model == baseline) continue;
    const BaselineRatios against = baseline_ratios(model.speed(), baseline->speed());
    const auto figure = [&](double ratio) { return report.single() ? or_null(ratio) : nullptr; };
    json["against_baseline"] = {
        {"ttft_speedup", figure(against.ttft)},
        {"prefill_speedup", figure(against.prefill)},
        {"decode_speedup", figure(against.decode)},
        {"disk_ratio", against.disk},
        {"weights_ratio", against.weights},
        {"peak_rss_ratio", as_double(model.peak_rss_bytes) / as_double(baseline->peak_rss_bytes)},
    };
  }
  nlohmann::json json = report_header("bench", fingerprint);
  json.update({{"machine", machine_json(report.machine)},
               {"protocol", protocol_json(report)},
               {"goal", goal_json(report)},
               {"models", models},
               {"cells", cells_json(report)}});
  return json;
}

std::string bench_text(const BenchReport& report) {
  if (report.single() && report.goal == Goal::none) return columns_text(report);
  return models_text(report) + '\n' + cells_text(report);
}

namespace {

// "int8, decode", and where there are several, the cell's settings: "int8, thr 2, seq 4, decode".
std::string phase_title(const SpeedReport& speed, const std::vector<BenchCell>& cells,
                        const PhaseProfile& phase) {
  std::string title = speed.name;
  for (const CellSetting& setting : cell_settings())
    if (differs(setting, cells))
      title += fmt::format(", {} {}", setting.header, setting_text(setting, speed));
  return title + ", " + phase.phase;
}

}  // namespace

std::string bench_profile_text(const BenchReport& report) {
  std::string text;
  const std::vector<BenchCell> cells = bench_cells(report);
  for (const BenchCell& cell : cells)
    for (const PhaseProfile& phase : cell.speed->profiles)
      text += '\n' +
              profile_text(phase_title(*cell.speed, cells, phase),
                           operation_times(*phase.profile, phase.limits)) +
              fmt::format("{}\n", fmt::join(wrap(watching_text(phase), report_width), "\n"));
  return text;
}

nlohmann::json bench_trace(const BenchReport& report) {
  std::vector<TracedProfile> profiles;
  const std::vector<BenchCell> cells = bench_cells(report);
  for (const BenchCell& cell : cells)
    for (const PhaseProfile& phase : cell.speed->profiles)
      profiles.push_back({phase_title(*cell.speed, cells, phase), phase.profile.get()});
  return trace_json(profiles);
}

}  // namespace whittle
