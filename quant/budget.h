#pragma once
// From what tensors cost (sensitivity.h) and a budget to a recipe.

#include <cstdint>
#include <optional>
#include <vector>

#include "quant/recipe.h"
#include "quant/sensitivity.h"

namespace whittle {

// At most one is set.
struct Budget {
  std::optional<double> bits;    // stored bits of each weight of the layers' linears
  std::optional<int64_t> bytes;  // of the weight file
  std::optional<double> kl;      // mean, against the original, on the held-out text
  explicit operator bool() const { return bits || bytes || kl; }
};

// With every linear in the smallest format.
Recipe smallest_recipe(Recipe recipe);

// What a budget came to.
struct MixedRecipe {
  Recipe recipe;
  double bits = 0;  // of each weight of the layers' linears
  double predicted_kl = 0;
};

class BudgetSolver {
 public:
  // plan: of the smallest recipe. What the weight file holds beside the tensors is counted, too.
  BudgetSolver(const Recipe& smallest, Sensitivity sensitivity, const FolderWeights& source,
               const QuantizationPlan& plan);

  // Throws Error where the smallest there is passes the budget, which says bits or bytes.
  MixedRecipe solve(const Budget& budget) const;
  // The smallest that should lose no more than `kl`; where none does, the one that loses least.
  MixedRecipe solve_kl(double kl) const;

 private:
  MixedRecipe mixed(const Allocation& allocation) const;

  const Recipe smallest_;
  const Sensitivity sensitivity_;
  int64_t weights_ = 0, fixed_bytes_ = 0;  // of the tensors; of the file beside them
};

}  // namespace whittle
