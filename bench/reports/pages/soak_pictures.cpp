#include <fmt/format.h>

#include <cmath>

#include "bench/reports/figures.h"
#include "bench/reports/pages/pictures.h"
#include "bench/reports/report_values.h"

namespace whittle {
namespace {

// What is taken round after round, and the object of its line by least squares.
struct SoakFigure {
  const char* key;   // in `points`
  const char* line;  // null: no line is fitted
  const char* title;
  const char* unit;
  double per_unit;
};
constexpr SoakFigure figures[] = {
    {"anonymous_bytes", "/anonymous_bytes", "Memory over time", "MB", 1e6},
    {"decode_ms_per_token", "/decode_percent", "Time of a token over time", "ms", 1},
    {"prefill_ms_per_token", nullptr, "Time of a prompt's token over time", "ms", 1},
    {"clock_mhz", "/clock_mhz", "Clock over time", "MHz", 1},
    {"temperature_c", "/temperature_c", "Temperature over time", "°C", 1}};

// The fitted line goes through the means of time and figure.
void add_line(const nlohmann::json& report, const SoakFigure& figure, const PlotSeries& points, Plot& plot) {
  if (!figure.line || points.points.size() < 2) return;
  const double mean = number_at(report, fmt::format("{}/mean", figure.line)) / figure.per_unit,
               an_hour = number_at(report, fmt::format("{}/slope_per_hour", figure.line)) / figure.per_unit;
  if (!std::isfinite(mean) || !std::isfinite(an_hour)) return;
  const double first = points.points.front().x, last = points.points.back().x, middle = (first + last) / 2;
  PlotSeries line{"", Marker::none, Stroke::dashed, {}};
  for (const double x : {first, last})
    line.points.push_back({.x = x, .y = mean + an_hour / 60 * (x - middle)});
  plot.series.push_back(std::move(line));
  plot.notes.push_back(fmt::format("{}: trend, the dashed line, {} {} an hour", points.name,
                                   format_signed(an_hour, 4), figure.unit));
}

void add_figure(const ReportGroup& group, const SoakFigure& figure, Pictures& pictures) {
  Plot plot{
      .title = figure.title,
      .description = "A point is the mean of some rounds; the dashed line is the trend by least squares.",
      .x = {.title = "minutes", .from_zero = true},
      .y = {.title = figure.unit}};
  for (size_t r = 0; r < group.reports.size(); ++r) {
    const nlohmann::json& report = group.reports[r]->json;
    const std::string model = text_at(report, "/model");
    PlotSeries series{
        with_letter(group, r, model.empty() ? "run" : model), Marker::none, stroke_of(2 * r), {}};
    if (group.letters.size() > 1) series.tag = group.letters[r];
    for (const nlohmann::json* point : items_at(report, "/points")) {
      const double value = number_at(*point, fmt::format("/{}", figure.key)) / figure.per_unit;
      if (std::isfinite(value))
        series.points.push_back({.x = number_at(*point, "/seconds") / 60, .y = value});
    }
    if (series.points.empty()) continue;
    if (series.points.size() <= 60) series.marker = marker_of(r);
    add_line(report, figure, series, plot);
    plot.series.push_back(std::move(series));
  }
  if (!plot.series.empty()) pictures.plots.push_back(std::move(plot));
}

}  // namespace

void add_soak_pictures(const ReportGroup& group, Pictures& pictures) {
  for (const SoakFigure& figure : figures) add_figure(group, figure, pictures);
  for (size_t r = 0; r < group.reports.size(); ++r) {
    const nlohmann::json& report = group.reports[r]->json;
    for (const auto& [key, what] :
         {std::pair("anonymous_bytes", "memory"), {"decode_percent", "time of a token"}})
      if (const std::string verdict = text_at(report, fmt::format("/{}/verdict", key)); !verdict.empty())
        pictures.notes.push_back(with_letter(group, r, fmt::format("{}: {}", what, verdict)));
    pictures.notes.push_back(
        with_letter(group, r,
                    fmt::format("answers that changed: {} of {}", text_at(report, "/answers_changed"),
                                text_at(report, "/answers"))));
    HtmlTable table{with_letter(group, r, "Answers that changed"),
                    {{"round"}, {"conversation", "", true}, {"difference", "", true}},
                    {}};
    for (const nlohmann::json* changed : items_at(report, "/changed"))
      table.rows.push_back({text_at(*changed, "/round"), text_at(*changed, "/conversation"),
                            text_at(*changed, "/difference")});
    if (!table.rows.empty()) pictures.tables.push_back(std::move(table));
  }
}

}  // namespace whittle
