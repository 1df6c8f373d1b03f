#include "quant/frontier/dominance.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <tuple>

namespace whittle {

bool TradeOff::known() const { return !std::isnan(kl) && !std::isnan(cost); }

bool dominates(const TradeOff& a, const TradeOff& b) {
  return a.kl <= b.kl && a.cost <= b.cost && (a.kl < b.kl || a.cost < b.cost);
}

std::vector<std::optional<size_t>> dominators(std::span<const TradeOff> points) {
  std::vector<size_t> order(points.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::erase_if(order, [&](size_t i) { return !points[i].known(); });
  std::ranges::stable_sort(order, {}, [&](size_t i) { return std::tuple(points[i].kl, points[i].cost); });
  std::vector<std::optional<size_t>> found(points.size());
  for (const size_t i : order) {
    const auto first = std::ranges::find_if(order, [&](size_t j) { return dominates(points[j], points[i]); });
    if (first != order.end()) found[i] = *first;
  }
  return found;
}

}  // namespace whittle
