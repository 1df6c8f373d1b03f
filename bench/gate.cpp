#include "bench/gate.h"

#include <cmath>

namespace whittle {

std::string_view name(Verdict verdict) {
  constexpr std::string_view names[] = {"kept", "exceeded", "undecided"};
  return names[static_cast<size_t>(verdict)];
}

// The mean may weigh windows by their tokens, and so lie outside the interval of the windows' means.
Verdict Gate::verdict() const {
  if (!std::isfinite(found.mean)) return Verdict::exceeded;
  if (found.mean <= limit && found.high <= limit) return Verdict::kept;
  if (found.mean > limit && found.low > limit) return Verdict::exceeded;
  return Verdict::undecided;
}

bool Gate::passes() const { return std::isfinite(found.mean) && found.mean <= limit; }

}  // namespace whittle
