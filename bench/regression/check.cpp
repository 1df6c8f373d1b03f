#include "bench/regression/check.h"

#include <algorithm>

namespace whittle {

std::string_view name(Outcome outcome) {
  constexpr std::string_view names[] = {"pass", "not judged", "not comparable", "inconclusive", "regression"};
  return names[static_cast<size_t>(outcome)];
}

Outcome verdict(std::span<const Check> checks) {
  Outcome worst = Outcome::pass;
  for (const Check& check : checks)
    if (check.outcome != Outcome::not_judged) worst = std::max(worst, check.outcome);
  return worst;
}

}  // namespace whittle
