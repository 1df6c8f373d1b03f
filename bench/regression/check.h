#pragma once
// One thing that a gate looks at, and what it found.

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/statistics.h"

namespace whittle {

// not_judged: said, with the reason, and without weight in the verdict.
enum class Outcome : uint8_t { pass, not_judged, incomparable, inconclusive, regression };
std::string_view name(Outcome outcome);

struct Check {
  static constexpr double unknown = std::numeric_limits<double>::quiet_NaN();

  std::string name;  // "perplexity"
  Outcome outcome = Outcome::not_judged;
  std::string unit;  // of the two figures: "nats", "bytes", or empty
  double before = unknown, now = unknown;
  std::string change_unit;                     // of the three that follow: "%", "nats"
  Interval change{unknown, unknown, unknown};  // for the worse is above 0
  double budget = unknown;                     // the largest change that passes
  double p_value = unknown;  // of a change above the budget by chance, corrected for several tests
  // Whether there is a change with a number.
  bool compared() const { return change.mean == change.mean; }

  std::string reason;  // what, by how much and how sure, in one sentence without its end
};

// The worst of them: a regression, else inconclusive, else incomparable, else a pass.
Outcome verdict(std::span<const Check> checks);

}  // namespace whittle
