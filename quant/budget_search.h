#pragma once
// A limit of the KL divergence as budget: what was predicted of a mix and then measured says which to try
// next.

#include <functional>
#include <string>

#include "quant/budget.h"

namespace whittle {

// Carries a mix out, and returns its mean KL divergence on held-out text. Under a name that it had before it
// takes what it made then.
using TryMix = std::function<double(const MixedRecipe& mix, const std::string& name)>;

// The smallest mix that was seen to keep `limit`; it is the last that was carried out. Throws Error where
// none does.
void search_below_kl(const BudgetSolver& solver, double limit, const TryMix& try_mix);

}  // namespace whittle
