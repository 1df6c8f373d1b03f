#pragma once
// Non-inferiority: the same windows or items before and now, and a budget for the change of their mean.

#include <span>
#include <string>
#include <vector>

#include "bench/regression/check.h"

namespace whittle {

// One value a window or an item on either side.
struct PairedMetric {
  std::string name, unit;
  std::vector<double> before, now;  // of equal length, at least one
  // What of a mean is shown: perplexity is exp of it.
  double (*shown)(double mean) = nullptr;
  bool higher_is_better = false;
  // By how much the mean may get worse, in `unit`; shown as it was given, in `change_unit`.
  double budget = 0;
  std::string change_unit;
  double change_scale = 1;  // a change of the mean times this is in change_unit
};

// pass: the upper end of the 95 % interval of the mean paired difference (Student's t) is within the budget.
// regression: the change is above the budget with a one-sided p below 0.025, after Holm's correction for all
// metrics that are given together. Else inconclusive. A value that is no finite number is a regression.
std::vector<Check> judge_paired(std::span<const PairedMetric> metrics);

}  // namespace whittle
