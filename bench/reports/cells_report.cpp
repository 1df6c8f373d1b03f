#include "bench/reports/cells_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <sstream>

#include "bench/reports/cells.h"
#include "bench/reports/energy_report.h"
#include "bench/reports/figures.h"
#include "bench/reports/markup.h"
#include "bench/reports/speed_report.h"
#include "bench/reports/table.h"
#include "engine/files/json_file.h"

namespace whittle {
namespace {

struct CellColumn {
  std::string header;
  bool needed = true;  // however narrow the table must be
  std::function<std::string(const BenchCell&)> value;
};

std::string figure(const std::vector<double>& values) { return format_number(median(values)); }

CellColumn percentile(const std::string& header, bool needed,
                      std::vector<double> (SpeedReport::*values)() const, double q) {
  return {header, needed,
          [=](const BenchCell& cell) { return format_number(quantile((cell.speed->*values)(), q)); }};
}

std::vector<CellColumn> figure_columns(const BenchReport& report, const std::vector<BenchCell>& cells) {
  const CellColumn prefill = {
      "prefill", true, [](const BenchCell& cell) { return figure(cell.speed->prefill_tokens_per_s()); }};
  const CellColumn decode = {"decode", true,
                             [](const BenchCell& cell) { return figure(cell.speed->decode_tokens_per_s()); }};
  std::vector<CellColumn> columns;
  if (report.goal == Goal::latency) {
    for (const auto& [q, label] : {std::pair(0.5, "p50"), std::pair(0.95, "p95"), std::pair(0.99, "p99")})
      columns.push_back(percentile(fmt::format("ttft {}", label), true, &SpeedReport::ttft_ms, q));
    for (const auto& [q, label] : {std::pair(0.5, "p50"), std::pair(0.95, "p95"), std::pair(0.99, "p99")})
      columns.push_back(percentile(fmt::format("itl {}", label), true, &SpeedReport::latencies_ms, q));
    columns.push_back(percentile("all p50", false, &SpeedReport::request_ms, 0.5));
    columns.push_back(percentile("all p99", false, &SpeedReport::request_ms, 0.99));
  } else if (report.goal == Goal::throughput) {
    columns = {decode,
               percentile("itl p50", false, &SpeedReport::latencies_ms, 0.5),
               percentile("itl p95", true, &SpeedReport::latencies_ms, 0.95),
               percentile("itl p99", false, &SpeedReport::latencies_ms, 0.99),
               {"", true, [](const BenchCell& cell) {
                  return cell.best ? "best" : cell.within_goal.value_or(false) ? "within" : "too slow";
                }}};
  } else {
    columns = {percentile("ttft", true, &SpeedReport::ttft_ms, 0.5), prefill, decode,
               percentile("itl p95", true, &SpeedReport::latencies_ms, 0.95)};
  }
  if (std::ranges::any_of(cells, [](const BenchCell& cell) { return cell.baseline != nullptr; }))
    columns.push_back({"×", false, [](const BenchCell& cell) {
                         return cell.baseline ? fmt::format("{}×", format_number(median_ratio(
                                                                       cell.speed->decode_tokens_per_s(),
                                                                       cell.baseline->decode_tokens_per_s())))
                                              : "";
                       }});
  columns.push_back({"of read", false, [](const BenchCell& cell) {
                       return format_percent(median(cell.speed->decode_bandwidth_fraction()));
                     }});
  if (report.goal == Goal::none)
    columns.push_back({"of peak", false, [](const BenchCell& cell) {
                         return format_percent(median(cell.speed->prefill_fraction()));
                       }});
  if (std::ranges::any_of(cells, [](const BenchCell& cell) {
        return token_energy(*cell.speed, &RepeatEnergy::decode).has_value();
      }))
    columns.push_back({"J/tok", false, [](const BenchCell& cell) {
                         const auto energy = token_energy(*cell.speed, &RepeatEnergy::decode);
                         return energy ? format_number(energy->joules) : "";
                       }});
  return columns;
}

std::vector<CellColumn> all_columns(const BenchReport& report, const std::vector<BenchCell>& cells) {
  std::vector<CellColumn> columns = {{"model", true, [](const BenchCell& cell) { return cell.speed->name; }}};
  const auto searched = [&](const CellSetting& setting) {
    return report.goal == Goal::throughput && std::string_view(setting.key) == "sequences";
  };
  for (const CellSetting& setting : cell_settings())
    if (differs(setting, cells) || searched(setting))
      columns.push_back(
          {setting.header, true, [&](const BenchCell& cell) { return setting_text(setting, *cell.speed); }});
  for (CellColumn& column : figure_columns(report, cells)) columns.push_back(std::move(column));
  return columns;
}

// Of the settings that do not differ: "2 threads".
std::string common_settings(const BenchReport& report, const std::vector<BenchCell>& cells) {
  std::vector<std::string> alike;
  for (const CellSetting& setting : cell_settings()) {
    const bool of_prompts = report.prompts && setting.of_prompt;
    if (!differs(setting, cells) && !of_prompts)
      alike.push_back(fmt::format("{} {}", setting.header, setting_text(setting, *cells.front().speed)));
  }
  return fmt::format("{}", fmt::join(alike, ", "));
}

std::vector<std::string> notes(const BenchReport& report, const std::vector<BenchCell>& cells) {
  const SpeedOptions& options = report.points.front().speed;
  std::vector<std::string> lines = {
      fmt::format("{}, {}; {}", report.machine.machine.cpu, report.machine.isa_chosen,
                  common_settings(report, cells)),
      "ttft: time to first token, itl: from token to token, in ms; prefill, decode: tokens a second",
      "seq: sequences together; ctx: tokens in the cache before the prompt; of read, of peak: parts of what "
      "probes beside each repeat found"};
  if (report.has_baseline && report.goal != Goal::throughput)
    lines.push_back("×: how many times as fast it decodes as the baseline at the same setting");
  if (report.prompts)
    lines.push_back(fmt::format("{} prompts of a file, each run {}; all: from a prompt to its last token",
                                report.prompts,
                                options.repeat == 1 ? "once" : fmt::format("{} times", options.repeat)));
  else
    lines.push_back(fmt::format("medians of {} repeats, unless a percentile is named", options.repeat));
  if (options.timing != Timing::usual) lines.push_back(timing_text(options.timing));
  if (!report.alternated) lines.push_back("cells did not take turns: each model, or each cell, ran alone");
  if (report.goal == Goal::throughput)
    lines.push_back(fmt::format("best: the most tokens a second with a 95th percentile of at most {} ms",
                                format_number(report.throughput.max_itl_ms)));
  for (const ModelSummary& model : report.models)
    for (const ThroughputSearch& search : model.searches)
      if (search.end != SearchEnd::latency)
        lines.push_back(fmt::format("{}: no more than {} sequences were tried: {}", model.speed().name,
                                    search.search.tried.back().sequences, end_text(search.end)));
  if (const auto& missing = cells.front().speed->energy_missing; missing && !missing->empty())
    lines.push_back("energy is not available: " + *missing);
  return lines;
}

Table make_table(const std::vector<CellColumn>& columns, const std::vector<BenchCell>& cells) {
  std::vector<Column> headers;
  for (const CellColumn& column : columns)
    headers.push_back({column.header, headers.empty() ? Align::left : Align::right});
  Table table(headers);
  for (const BenchCell& cell : cells) {
    std::vector<std::string> row;
    for (const CellColumn& column : columns) row.push_back(column.value(cell));
    table.add_row(row);
  }
  return table;
}

// Of a table where no name of a model takes more than a few columns: longer ones take several lines.
int64_t least_width(const Table& table, const std::vector<BenchCell>& cells) {
  constexpr int64_t of_name = 16;
  int64_t name = 0;
  for (const BenchCell& cell : cells) name = std::max(name, display_width(printable(cell.speed->name)));
  int64_t widest = 0;
  std::istringstream lines(table.text(INT64_MAX / 2));
  for (std::string line; std::getline(lines, line);) widest = std::max(widest, display_width(line));
  return widest - std::max<int64_t>(0, name - of_name);
}

}  // namespace

std::string cells_text(const BenchReport& report) {
  const std::vector<BenchCell> cells = bench_cells(report);
  std::vector<CellColumn> columns = all_columns(report, cells);
  while (true) {
    Table table = make_table(columns, cells);
    const auto optional =
        std::ranges::find_if(columns.rbegin(), columns.rend(), std::logical_not(), &CellColumn::needed);
    if (optional == columns.rend() || least_width(table, cells) <= report_width) {
      for (const std::string& note : notes(report, cells)) table.add_note(note);
      return table.text();
    }
    columns.erase(std::next(optional).base());
  }
}

std::string cells_markdown(const BenchReport& report) {
  const std::vector<BenchCell> cells = bench_cells(report);
  const std::vector<CellColumn> columns = all_columns(report, cells);
  std::string text = "|", rule = "|";
  for (const CellColumn& column : columns) {
    text += fmt::format(" {} |", column.header);
    rule += rule.size() == 1 ? "---|" : "---:|";
  }
  text += '\n' + rule + '\n';
  for (const BenchCell& cell : cells) {
    text += '|';
    for (const CellColumn& column : columns) text += fmt::format(" {} |", markdown(column.value(cell)));
    text += '\n';
  }
  for (const std::string& note : notes(report, cells)) text += fmt::format("\n{}.\n", markdown(note));
  return text;
}

}  // namespace whittle
