#include <fmt/format.h>

#include <cmath>
#include <numeric>

#include "bench/reports/pages/pictures.h"
#include "bench/reports/report_values.h"

namespace whittle {
namespace {

constexpr const char* percentiles[] = {"p50", "p95", "p99"};

void add_percentiles(const ReportGroup& group, const char* key, const char* title, Pictures& pictures) {
  RowPlot rows(
      {.title = title,
       .description = "The median, and what 95 and 99 of 100 stay below, of each model and setting. Less "
                      "is better.",
       .x = {.title = "ms", .logarithmic = true},
       .y = {.title = "model and setting"}},
      {percentiles[0], percentiles[1], percentiles[2]});
  for (const ReportItem& item : group.all("cell").items)
    for (size_t r = 0; r < item.in.size(); ++r) {
      if (!item.in[r]) continue;
      std::vector<PlotPoint> points;
      for (const char* percentile : percentiles)
        points.push_back({.x = number_at(*item.in[r], fmt::format("/{}/{}", key, percentile))});
      rows.add_row(with_letter(group, r, item.name), points);
    }
  rows.add_to(pictures);
}

// The histogram as the report has it, in percent of all.
PlotSeries histogram_series(const std::string& name, size_t s, const nlohmann::json& cell) {
  PlotSeries series{name, Marker::none, stroke_of(s), {}};
  const std::vector<double> edges = numbers_at(cell, "/itl_histogram_ms/edges"),
                            counts = numbers_at(cell, "/itl_histogram_ms/counts");
  if (edges.size() != counts.size() + 1) return series;
  const double all = std::accumulate(counts.begin(), counts.end(), 0.0);
  if (!(all > 0)) return series;
  for (size_t i = 0; i < counts.size(); ++i)
    series.points.push_back({.x = edges[i], .y = 100 * counts[i] / all, .until = edges[i + 1]});
  return series;
}

// The latencies between tokens of one model at one setting, in all reports.
Plot histogram_plot(const ReportGroup& group, const ReportItem& item) {
  Plot plot{.title = "Latency between tokens" + (item.name.empty() ? "" : ": " + item.name),
            .description = "How many of all steps took how long; upright lines are percentiles.",
            .x = {.title = "ms", .logarithmic = true},
            .y = {.title = "% of steps", .from_zero = true}};
  for (size_t r = 0; r < item.in.size(); ++r) {
    if (!item.in[r]) continue;
    PlotSeries series = histogram_series(with_letter(group, r, item.name), plot.series.size(), *item.in[r]);
    if (series.points.empty()) continue;
    if (group.letters.size() > 1) series.tag = group.letters[r];
    plot.series.push_back(std::move(series));
    for (const char* percentile : percentiles) {
      const double at = number_at(*item.in[r], fmt::format("/itl_ms/{}", percentile));
      if (std::isfinite(at)) plot.lines.push_back({at, true, with_letter(group, r, percentile)});
    }
  }
  return plot;
}

}  // namespace

void add_latency_pictures(const ReportGroup& group, Pictures& pictures) {
  size_t shown = 0, left_out = 0;
  for (const ReportItem& item : group.all("cell").items) {
    Plot plot = histogram_plot(group, item);
    if (plot.series.empty()) continue;
    if (shown++ < most_pictures)
      pictures.plots.push_back(std::move(plot));
    else
      ++left_out;
  }
  if (left_out)
    pictures.notes.push_back(
        fmt::format("Histograms of {} more settings are left out; their percentiles are below", left_out));
  add_percentiles(group, "itl_ms", "Percentiles of the latency between tokens", pictures);
  add_percentiles(group, "request_ms", "Percentiles of whole requests", pictures);
}

}  // namespace whittle
