#include "bench/reports/pages/frontier_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bench/reports/table.h"

namespace whittle {
namespace {

struct KindMark {
  const char* kind;
  const char* name;
  Marker marker;
};
constexpr KindMark kinds[] = {{"original", "the original", Marker::diamond},
                              {"dense", "fewer bits", Marker::circle},
                              {"sparse", "single weights pruned", Marker::square},
                              {"parts", "parts of the model pruned", Marker::triangle}};

// What cannot be improved on lies on this line or on its good side.
PlotSeries stairs(const std::vector<TradedRecipe>& points, bool less_is_better) {
  std::vector<TradedRecipe> corners;
  std::ranges::copy_if(points, std::back_inserter(corners), &TradedRecipe::on_frontier);
  std::ranges::sort(corners, {}, &TradedRecipe::x);
  PlotSeries line{"", Marker::none, Stroke::dashed, {}};
  const auto add = [&](double x, double kl) { line.points.push_back({.x = x, .y = kl, .decides_y = false}); };
  for (size_t i = 0; i < corners.size(); ++i) {
    if (i > 0) less_is_better ? add(corners[i].x, corners[i - 1].kl) : add(corners[i - 1].x, corners[i].kl);
    add(corners[i].x, corners[i].kl);
  }
  return line;
}

}  // namespace

Plot frontier_plot(const FrontierTrade& trade, const std::vector<TradedRecipe>& points) {
  std::vector<TradedRecipe> shown;
  std::ranges::copy_if(points, std::back_inserter(shown), [](const TradedRecipe& point) {
    return std::isfinite(point.x) && std::isfinite(point.kl);
  });
  Plot plot{.title = trade.title,
            .description = "The lower, the less is lost. On the frontier:",
            .x = {.title = trade.x_title},
            .y = {.title = "KL, nats a token", .logarithmic = true, .holds_lower = true}};
  if (const PlotSeries line = stairs(shown, trade.less_is_better); line.points.size() > 1)
    plot.series.push_back(line);
  for (const KindMark& kind : kinds) {
    PlotSeries series{kind.name, kind.marker, Stroke::none, {}};
    for (const TradedRecipe& point : shown) {
      if (point.kind != kind.kind) continue;
      const std::string label =
          fmt::format("{}: {:.2f}{}, KL {}", point.name, point.x, trade.unit, format_number(point.kl));
      // The original's own KL is that of its cache alone, and may be far below all others.
      series.points.push_back({.x = point.x,
                               .y = point.kl,
                               .label = label,
                               .mark = fmt::format("{}", point.number),
                               .filled = point.on_frontier,
                               .decides_y = point.number != 0});
      if (point.on_frontier) plot.description += fmt::format(" {};", label);
    }
    if (!series.points.empty()) plot.series.push_back(std::move(series));
  }
  plot.description += " the table has all figures.";
  return plot;
}

}  // namespace whittle
