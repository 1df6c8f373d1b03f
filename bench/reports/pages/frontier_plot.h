#pragma once
// Recipes by drift and by what it is traded for: those that no other beats lie on the frontier.

#include <string>
#include <vector>

#include "bench/reports/pages/plot.h"

namespace whittle {

struct TradedRecipe {
  size_t number = 0;       // stands beside it, and in the table of recipes
  std::string name, kind;  // the latter: "original", "dense", "sparse" or "parts"
  double x = 0, kl = 0;    // KL in nats a token
  bool on_frontier = false;
};

struct FrontierTrade {
  std::string title, x_title;
  std::string unit;            // of x, with the space before it if there is one: " MB", "×"
  bool less_is_better = true;  // of x: where the frontier's corner lies
};

// Points that are not finite are left out. Shapes tell kinds, filled ones are on the frontier, which a line
// joins.
Plot frontier_plot(const FrontierTrade& trade, const std::vector<TradedRecipe>& points);

}  // namespace whittle
