#include "quant/budget_search.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <vector>

#include "kernels/option_error.h"

namespace whittle {

void search_below_kl(const BudgetSolver& solver, double limit, const TryMix& try_mix) {
  constexpr int most_tries = 8;
  constexpr double aim = 0.97, near_enough = 0.9;  // of the limit
  const auto name = [](size_t index) { return fmt::format("try {}", index); };
  std::vector<MixedRecipe> tries;
  std::optional<size_t> kept;
  double asked = limit, least = std::numeric_limits<double>::infinity();
  while (std::ssize(tries) < most_tries) {
    const MixedRecipe mix = solver.solve_kl(asked);
    if (std::ranges::any_of(tries, [&](const MixedRecipe& before) { return before.recipe == mix.recipe; }))
      break;
    tries.push_back(mix);
    const double kl = try_mix(mix, name(tries.size() - 1));
    if (kl <= limit && kl >= near_enough * limit) return;
    if (kl <= limit && (!kept || mix.price < tries[*kept].price)) kept = tries.size() - 1;
    least = std::min(least, kl);
    asked = mix.predicted_kl * aim * limit / kl;
  }
  if (!kept)
    fail_option("max_kl",
                "no mix of formats was found that keeps a mean KL divergence of {}; the least was {}", limit,
                least);
  try_mix(tries[*kept], name(*kept));
}

}  // namespace whittle
