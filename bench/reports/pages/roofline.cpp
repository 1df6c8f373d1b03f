// The roofline (Williams, Waterman and Patterson 2009) of each watched run: what an operation computes a
// second over what it computes for a byte that it reads, below what the machine's memory and arithmetic
// allow.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "bench/reports/figures.h"
#include "bench/reports/pages/pictures.h"
#include "bench/reports/report_values.h"

namespace whittle {
namespace {

struct Roof {
  const char* key;
  const char* name;
};
constexpr Roof roofs[] = {{"int8_gops", "int8 arithmetic"}, {"fp32_gflops", "fp32 arithmetic"}};

// The slope of memory up to the highest roof, and each roof from where the slope meets it.
void add_limits(const nlohmann::json& report, double read, double least, double most, Plot& plot) {
  double highest = read * most;
  std::vector<PlotSeries> lines;
  for (const Roof& roof : roofs) {
    const double top = number_at(report, fmt::format("/machine/{}", roof.key));
    if (!(top > 0) || !std::isfinite(top / read)) continue;
    const double ridge = top / read;
    highest = lines.empty() ? top : std::max(highest, top);
    lines.push_back({fmt::format("{}: {:.4g} GOPS", roof.name, top),
                     Marker::none,
                     stroke_of(lines.size() + 1),
                     {{.x = ridge, .y = top}, {.x = 2 * std::max(most, ridge), .y = top}}});
  }
  plot.series.push_back({fmt::format("reading memory: {:.4g} GB/s", read),
                         Marker::none,
                         Stroke::solid,
                         {{.x = least / 2, .y = read * least / 2}, {.x = highest / read, .y = highest}}});
  plot.series.insert(plot.series.end(), lines.begin(), lines.end());
}

Plot roofline(const nlohmann::json& report, const nlohmann::json& cell, const std::string& name) {
  Plot plot{.title = "Roofline" + (name.empty() ? "" : ": " + name),
            .description =
                "What each operation computes a second over what it computes for a byte that it reads. "
                "The nearer to the lines, the less is left to gain; above the slope of memory lies what "
                "is read from caches.",
            .x = {.title = "operations a byte", .logarithmic = true},
            .y = {.title = "GOPS", .logarithmic = true}};
  std::map<std::string, size_t> numbers;  // of operations: the same in both phases
  double least = INFINITY, most = 0;
  for (const char* phase : {"prefill", "decode"}) {
    PlotSeries series{phase, marker_of(plot.series.size()), Stroke::none, {}};
    for (const nlohmann::json* time : items_at(cell, fmt::format("/profile/{}", phase))) {
      const double gops = number_at(*time, "/gops"), gb_per_s = number_at(*time, "/gb_per_s");
      if (!(gops > 0) || !(gb_per_s > 0)) continue;
      const double intensity = gops / gb_per_s;
      if (!std::isfinite(intensity)) continue;
      const std::string operation = text_at(*time, "/operation");
      const size_t number = numbers.try_emplace(operation, numbers.size() + 1).first->second;
      series.points.push_back({.x = intensity,
                               .y = gops,
                               .label = fmt::format("{}, {} % of the time, {} of its limit", operation,
                                                    format_fixed(100 * number_at(*time, "/share"), 1),
                                                    format_fixed(number_at(*time, "/limit_fraction"), 2)),
                               .mark = fmt::format("{}", number),
                               .filled = plot.series.empty()});
      least = std::min(least, intensity);
      most = std::max(most, intensity);
    }
    plot.series.push_back(std::move(series));
  }
  std::erase_if(plot.series, [](const PlotSeries& series) { return series.points.empty(); });
  const double read = number_at(cell, "/adjacent_read_gb_per_s");
  if (!plot.series.empty() && read > 0 && std::isfinite(read)) add_limits(report, read, least, most, plot);
  return plot;
}

// Where the time of a watched run went.
HtmlTable profile_table(const nlohmann::json& cell, const std::string& name) {
  HtmlTable table{"Time by operation" + (name.empty() ? "" : ": " + name),
                  {{"operation", "", true},
                   {"phase", "", true},
                   {"calls"},
                   {"time", "ms"},
                   {"share", "%"},
                   {"reading", "GB/s"},
                   {"computing", "GOPS"},
                   {"of its limit", "%"}},
                  {}};
  for (const char* phase : {"prefill", "decode"})
    for (const nlohmann::json* time : items_at(cell, fmt::format("/profile/{}", phase))) {
      const auto number = [&](const char* key, int digits, double factor) {
        return format_fixed(factor * number_at(*time, key), digits);
      };
      table.rows.push_back({text_at(*time, "/operation"), phase, number("/calls", 0, 1), number("/ms", 4, 1),
                            number("/share", 1, 100), number("/gb_per_s", 2, 1), number("/gops", 2, 1),
                            number("/limit_fraction", 1, 100)});
    }
  return table;
}

}  // namespace

void add_rooflines(const ReportGroup& group, Pictures& pictures) {
  size_t shown = 0, left_out = 0;
  for (const ReportItem& item : group.all("cell").items)
    for (size_t r = 0; r < item.in.size(); ++r) {
      if (!item.in[r]) continue;
      const std::string name = with_letter(group, r, item.name);
      Plot plot = roofline(group.reports[r]->json, *item.in[r], name);
      HtmlTable table = profile_table(*item.in[r], name);
      if (table.rows.empty()) continue;
      if (shown++ >= most_pictures) {
        ++left_out;
        continue;
      }
      if (!plot.series.empty()) pictures.plots.push_back(std::move(plot));
      pictures.tables.push_back(std::move(table));
    }
  if (left_out) pictures.notes.push_back(fmt::format("Profiles of {} more settings are left out", left_out));
}

}  // namespace whittle
