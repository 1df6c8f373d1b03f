#pragma once
// Which of several ways to make a model smaller nobody needs, because another is better in everything.

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

namespace whittle {

// Less of either is better. NaN: not known, and then it is compared with nothing.
struct TradeOff {
  double kl = 0;    // what it loses
  double cost = 0;  // bytes, or speed with its sign turned
  bool known() const;
};

// a is at least as good as b in both, and better in one.
bool dominates(const TradeOff& a, const TradeOff& b);

// For each of `points` the one that dominates it with the least KL, and of those the one of the least cost;
// none for what nothing dominates: the Pareto set, and what is not known.
std::vector<std::optional<size_t>> dominators(std::span<const TradeOff> points);

}  // namespace whittle
