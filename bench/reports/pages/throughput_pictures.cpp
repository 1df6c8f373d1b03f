#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

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

// The points of one model at one combination of the other settings.
struct SweepLine {
  std::string model, others;
  std::vector<PlotPoint> points;
};

std::vector<SweepLine> sweep_lines(const ReportGroup& group, const SweptSetting& setting,
                                   const SpeedFigure& figure) {
  const ReportItems& cells = group.all("cell");
  std::vector<SweepLine> lines;
  if (!cells.spec) return lines;
  std::vector<bool> model(cells.telling.size(), false), others = cells.telling;
  for (size_t k = 0; k < others.size(); ++k) {
    const std::string& path = cells.spec->keys[k].path;
    model[k] = path == "/model";
    if (model[k] || path == fmt::format("/{}", setting.key)) others[k] = false;
  }
  std::map<std::pair<std::string, std::string>, size_t> index;
  for (size_t r = 0; r < group.reports.size(); ++r)
    for (const ReportItem& item : cells.items) {
      if (!item.in[r]) continue;
      PlotPoint point = point_of(*item.in[r], figure);
      point.x = number_at(*item.in[r], fmt::format("/{}", setting.key));
      point.y = number_at(*item.in[r], fmt::format("/{}", figure.key));
      if (!std::isfinite(point.x) || !std::isfinite(point.y)) continue;
      const std::pair key{with_letter(group, r, item_name(*cells.spec, *item.in[r], model)),
                          item_name(*cells.spec, *item.in[r], others)};
      const auto [at, is_new] = index.try_emplace(key, lines.size());
      if (is_new) lines.push_back({key.first, key.second, {}});
      lines[at->second].points.push_back(point);
    }
  std::erase_if(lines, [](const SweepLine& line) { return line.points.size() < 2; });
  for (SweepLine& line : lines) std::ranges::sort(line.points, {}, &PlotPoint::x);
  return lines;
}

// More lines than this in one picture cannot be followed: then each combination of the others has its own.
constexpr size_t most_lines = 6, most_combinations = 4;

// Speeds along one setting, a line for each model and combination of the others.
void add_sweep(const ReportGroup& group, const SweptSetting& setting, const SpeedFigure& figure,
               Pictures& pictures) {
  const std::vector<SweepLine> lines = sweep_lines(group, setting, figure);
  const bool together = lines.size() <= most_lines;
  std::vector<Plot> plots;
  std::map<std::string, size_t> index;  // of plots, by what they have in common
  for (const SweepLine& line : lines) {
    const std::string common = together ? "" : line.others;
    const auto [at, is_new] = index.try_emplace(common, plots.size());
    if (is_new)
      plots.push_back({.title = fmt::format("{} over {}{}{}", figure.title, setting.title,
                                            common.empty() ? "" : ": ", common),
                       .description = "Medians, with the least and the most of the repeats. More is better.",
                       .x = {.title = setting.title, .whole = true},
                       .y = {.title = figure.unit, .from_zero = true}});
    Plot& plot = plots[at->second];
    const size_t s = plot.series.size();
    const bool others_told = together && !line.others.empty();
    plot.series.push_back({line.model + (others_told ? ", " + line.others : ""), marker_of(s), stroke_of(s),
                           line.points, fmt::format("{}", s + 1)});
    const double least = line.points.front().x, most = line.points.back().x;
    plot.x.logarithmic = plot.x.logarithmic || (least > 0 && most >= 8 * least);
  }
  for (size_t i = 0; i < std::min(plots.size(), most_combinations); ++i) pictures.plots.push_back(plots[i]);
  if (plots.size() > most_combinations)
    pictures.notes.push_back(
        fmt::format("{} over {}: {} more combinations are left out; the table of all figures has them",
                    figure.title, setting.title, plots.size() - most_combinations));
}

// A row a model and setting.
void add_rows(const ReportGroup& group, const SpeedFigure& figure, Pictures& pictures) {
  RowPlot rows({.title = fmt::format("{} speed", figure.title),
                .description = "Medians, with the least and the most of the repeats. More is better.",
                .x = {.title = figure.unit, .from_zero = true},
                .y = {.title = "model and setting"}},
               {"median"});
  for (const ReportItem& item : group.all("cell").items)
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
