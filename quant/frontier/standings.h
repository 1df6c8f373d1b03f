#pragma once
// Which recipes are on the frontier of KL against size, and of KL against decode speed.

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "quant/frontier/result.h"

namespace whittle {

// What drift is traded for.
struct Axis {
  std::string_view key;                 // in JSON
  std::string_view name;                // for people
  double (*cost)(const RecipeResult&);  // less is better; NaN: not known
};
std::span<const Axis> axes();  // size, decode

// What one axis says of a recipe.
struct Standing {
  bool compared = false;            // both figures are known
  std::optional<size_t> dominator;  // the result that makes it superfluous
  bool on_frontier() const { return compared && !dominator; }
};

// [axes][results]
std::vector<std::vector<Standing>> standings(std::span<const RecipeResult> results);

}  // namespace whittle
