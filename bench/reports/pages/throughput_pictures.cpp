#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "bench/reports/pages/pictures.h"
#include "bench/reports/report_values.h"

namespace whittle {
namespace {

struct SpeedFigure {
  const char* key;
  const char* title;
  const char* unit;
};
constexpr SpeedFigure decode = {"decode_tokens_per_s", "Decoding", "tokens/s"},
                      prefill = {"prefill_tokens_per_s", "Prefill", "tokens/s"};

// What may be swept, and the speeds that it may change.
struct SweptSetting {
  const char* key;
  const char* title;
  std::vector<SpeedFigure> figures;
};
const std::vector<SweptSetting>& swept_settings() {
  static const std::vector<SweptSetting> settings = {
      {"sequences", "sequences together", {decode}},
      {"context", "tokens in the cache before", {decode, prefill}},
      {"threads", "threads", {decode, prefill}},
      {"prompt_tokens", "tokens of the prompt", {prefill}}};
  return settings;
}

PlotPoint point_of(const nlohmann::json& cell, const SpeedFigure& figure) {
  return {.low = number_at(cell, fmt::format("/spread/{}/min", figure.key)),
          .high = number_at(cell, fmt::format("/spread/{}/max", figure.key))};
}

// Speeds along one setting, a line for each combination of the others.
void add_sweep(const ReportGroup& group, const SweptSetting& setting, const SpeedFigure& figure,
               Pictures& pictures) {
  const ReportItems& cells = group.at("/cells");
  if (!cells.spec) return;
  std::vector<bool> others = cells.telling;
  for (size_t k = 0; k < others.size(); ++k)
    if (cells.spec->keys[k].path == fmt::format("/{}", setting.key)) others[k] = false;
  std::vector<std::string> order;
  std::map<std::string, std::vector<PlotPoint>> lines;
  std::set<double> places;
  for (size_t r = 0; r < group.reports.size(); ++r)
    for (const ReportItem& item : cells.items) {
      if (!item.in[r]) continue;
      PlotPoint point = point_of(*item.in[r], figure);
      point.x = number_at(*item.in[r], fmt::format("/{}", setting.key));
      point.y = number_at(*item.in[r], fmt::format("/{}", figure.key));
      if (!std::isfinite(point.x) || !std::isfinite(point.y)) continue;
      places.insert(point.x);
      const std::string line = with_letter(group, r, item_name(*cells.spec, *item.in[r], others));
      if (lines[line].empty()) order.push_back(line);
      lines[line].push_back(point);
    }
  if (places.size() < 2) return;
  Plot plot{.title = fmt::format("{} over {}", figure.title, setting.title),
            .description = "Medians, with the least and the most of the repeats. More is better.",
            .x = {.title = setting.title,
                  .logarithmic = *places.begin() > 0 && *places.rbegin() >= 8 * *places.begin()},
            .y = {.title = figure.unit, .from_zero = true}};
  for (const std::string& name : order) {
    const size_t s = plot.series.size();
    PlotSeries series{name, marker_of(s), stroke_of(s), lines[name]};
    std::ranges::sort(series.points, {}, &PlotPoint::x);
    if (order.size() > 1) series.tag = fmt::format("{}", s + 1);
    plot.series.push_back(std::move(series));
  }
  pictures.plots.push_back(std::move(plot));
}

// A row a model and setting.
void add_rows(const ReportGroup& group, const SpeedFigure& figure, Pictures& pictures) {
  RowPlot rows({.title = fmt::format("{} speed", figure.title),
                .description = "Medians, with the least and the most of the repeats. More is better.",
                .x = {.title = figure.unit, .from_zero = true},
                .y = {.title = "model and setting"}},
               {"median"});
  for (const ReportItem& item : group.at("/cells").items)
    for (size_t r = 0; r < item.in.size(); ++r) {
      if (!item.in[r]) continue;
      PlotPoint point = point_of(*item.in[r], figure);
      point.x = number_at(*item.in[r], fmt::format("/{}", figure.key));
      rows.add_row(with_letter(group, r, item.name), {point});
    }
  rows.add_to(pictures);
}

}  // namespace

void add_throughput_pictures(const ReportGroup& group, Pictures& pictures) {
  const size_t before = pictures.plots.size();
  for (const SweptSetting& setting : swept_settings())
    for (const SpeedFigure& figure : setting.figures) add_sweep(group, setting, figure, pictures);
  if (pictures.plots.size() > before) return;
  add_rows(group, decode, pictures);
  add_rows(group, prefill, pictures);
}

}  // namespace whittle
