#include "bench/reports/pages/pictures.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace whittle {
namespace {

struct KindPictures {
  const char* schema;
  void (*add)(const ReportGroup& group, Pictures& pictures);
};
constexpr KindPictures all_pictures[] = {{"whittle.bench", add_latency_pictures},
                                         {"whittle.bench", add_throughput_pictures},
                                         {"whittle.bench", add_rooflines},
                                         {"whittle.drift", add_drift_pictures},
                                         {"whittle.tasks", add_task_pictures},
                                         {"whittle.gate", add_gate_pictures},
                                         {"whittle.estimate", add_estimate_pictures},
                                         {"whittle.soak", add_soak_pictures},
                                         {"whittle.frontier", add_frontier_pictures}};

}  // namespace

Pictures pictures_of(const ReportGroup& group) {
  Pictures pictures;
  for (const KindPictures& kind : all_pictures)
    if (std::string_view(group.kind->schema) == kind.schema) kind.add(group, pictures);
  return pictures;
}

std::string with_letter(const ReportGroup& group, size_t report, const std::string& text) {
  if (group.letters.size() < 2) return text;
  return text.empty() ? group.letters[report] : fmt::format("{} {}", group.letters[report], text);
}

RowPlot::RowPlot(Plot plot, std::vector<std::string> series) : plot_(std::move(plot)) {
  for (size_t s = 0; s < series.size(); ++s)
    plot_.series.push_back({series[s], marker_of(s), Stroke::none, {}});
}

void RowPlot::add_row(const std::string& name, const std::vector<PlotPoint>& values) {
  const bool says =
      std::ranges::any_of(values, [](const PlotPoint& point) { return std::isfinite(point.x); });
  if (!says) return;
  const size_t row = plot_.y.categories.size();
  if (row >= most_picture_rows) {
    ++left_out_;
    return;
  }
  plot_.y.categories.push_back(name.empty() ? "all" : name);
  for (size_t s = 0; s < values.size(); ++s) {
    PlotPoint point = values[s];
    point.y = static_cast<double>(row);
    if (point.label.empty()) point.label = fmt::format("{}: {}", name, plot_.series[s].name);
    if (std::isfinite(point.x)) plot_.series[s].points.push_back(std::move(point));
  }
}

void RowPlot::add_to(Pictures& pictures) const {
  if (plot_.y.categories.empty()) return;
  Plot plot = plot_;
  std::erase_if(plot.series, [](const PlotSeries& series) { return series.points.empty(); });
  if (left_out_)
    plot.notes.push_back(
        fmt::format("{} more rows are left out; the table of all figures has them", left_out_));
  pictures.plots.push_back(std::move(plot));
}

}  // namespace whittle
