#include <fmt/format.h>

#include "bench/reports/pages/frontier_plot.h"
#include "bench/reports/pages/pictures.h"
#include "bench/reports/report_values.h"

namespace whittle {
namespace {

struct TradedFigure {
  const char* key;
  double per_unit;
  const char* on_frontier;
  FrontierTrade trade;
};
const std::vector<TradedFigure>& traded_figures() {
  static const std::vector<TradedFigure> figures = {
      {"/disk_bytes",
       1e6,
       "/on_frontier_size",
       {"KL divergence and size", "size on disk, MB (less is better)", " MB", true}},
      {"/decode_speedup",
       1,
       "/on_frontier_decode",
       {"KL divergence and decode speed", "decode speed, × original (more is better)", "×", false}}};
  return figures;
}

}  // namespace

void add_frontier_pictures(const ReportGroup& group, Pictures& pictures) {
  for (size_t r = 0; r < group.reports.size(); ++r)
    for (TradedFigure figure : traded_figures()) {
      std::vector<TradedRecipe> points;
      for (const nlohmann::json* recipe : items_at(group.reports[r]->json, "/recipes"))
        points.push_back({points.size(), text_at(*recipe, "/name"), text_at(*recipe, "/kind"),
                          number_at(*recipe, figure.key) / figure.per_unit, number_at(*recipe, "/kl"),
                          value_at(*recipe, figure.on_frontier) == true});
      figure.trade.title = with_letter(group, r, figure.trade.title);
      Plot plot = frontier_plot(figure.trade, points);
      plot.notes.push_back(
          "Filled: on the frontier, no other recipe is better in one of both and as good in the other");
      if (!plot.series.empty()) pictures.plots.push_back(std::move(plot));
    }
}

}  // namespace whittle
