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
  bool time = false;             // kl: the least time of a token here is looked for, instead of bytes
  bool outer = true;             // bytes and kl: embedding and head may be rounded to int8 for it
  explicit operator bool() const { return bits || bytes || kl; }
};

// With every linear in the smallest format; outer: embedding and head, too.
Recipe smallest_recipe(Recipe recipe, bool outer);

// What a budget came to.
struct MixedRecipe {
  Recipe recipe;
  double bits = 0;  // of each weight of the layers' linears
  double predicted_kl = 0;
  int64_t price = 0;  // of all that may be chosen for: bytes, or nanoseconds a token
};

class BudgetSolver {
 public:
  // plan: of the smallest recipe. outer: embedding and head may be kept instead. What the weight file holds
  // beside the tensors is counted, too.
  BudgetSolver(const Recipe& smallest, Sensitivity sensitivity, const FolderWeights& source,
               const QuantizationPlan& plan, bool outer);

  // Throws Error where the smallest there is passes the budget, which says bits or bytes.
  MixedRecipe solve(const Budget& budget) const;
  // The smallest that should lose no more than `kl`; where none does, the one that loses least.
  MixedRecipe solve_kl(double kl) const;

  // From here on solve_kl() looks for the least time: a price for each candidate of each linear, and of
  // embedding and head where they may be chosen for, too. [tensors][candidates], nanoseconds a token. Throws
  // Error where there are fewer.
  void use_times(const std::vector<std::vector<int64_t>>& times);

 private:
  MixedRecipe mixed(const Allocation& allocation) const;

  const Recipe smallest_;
  std::vector<Tensor> tensors_;  // the layers' linears, then embedding and head if they may be chosen for
  std::vector<std::vector<int64_t>> bytes_;  // of their candidates
  size_t linears_ = 0;
  double smallest_kl_ = 0;
  int64_t weights_ = 0, fixed_bytes_ = 0;  // of the linears; of the file beside the tensors
};

}  // namespace whittle
