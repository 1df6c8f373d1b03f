#include "quant/frontier/standings.h"

#include "quant/frontier/dominance.h"

namespace whittle {
namespace {

constexpr Axis all_axes[] = {
    {"size", "size on disk",
     [](const RecipeResult& result) { return static_cast<double>(result.disk_bytes); }},
    {"decode", "decode speed", [](const RecipeResult& result) { return -result.decode_speedup.mean; }},
};

}  // namespace

std::span<const Axis> axes() { return all_axes; }

std::vector<std::vector<Standing>> standings(std::span<const RecipeResult> results) {
  std::vector<std::vector<Standing>> all;
  for (const Axis& axis : axes()) {
    std::vector<TradeOff> points;
    for (const RecipeResult& result : results)
      points.push_back({result.kl.mean, result.measured() ? axis.cost(result) : unknown_figure});
    const std::vector<std::optional<size_t>> found = dominators(points);
    std::vector<Standing>& standing = all.emplace_back();
    for (size_t i = 0; i < points.size(); ++i) standing.push_back({points[i].known(), found[i]});
  }
  return all;
}

}  // namespace whittle
