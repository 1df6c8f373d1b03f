#include "bench/regression/paired_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <cmath>

#include "bench/reports/figures.h"

namespace whittle {
namespace {

// Of a mean change for the worse that is no larger than the budget.
double p_value(std::span<const double> worse, double budget) {
  const double count = static_cast<double>(worse.size());
  const double average = mean(worse);
  double squares = 0;
  for (const double value : worse) squares += (value - average) * (value - average);
  if (squares == 0) return average > budget ? 0 : 1;
  if (worse.size() == 1) return 1;
  const double error = std::sqrt(squares / (count - 1) / count);
  return student_upper_tail((average - budget) / error, std::ssize(worse) - 1);
}

// With fewer pairs Student's t of skewed values is optimistic.
constexpr int64_t pairs_enough = 30;

std::string finding(const Check& check, int64_t pairs) {
  const std::string unit = check.change_unit.empty() ? "" : " " + check.change_unit;
  return fmt::format("{} by {}{} (95 % interval {}, {} pairs{}), the budget is {}{}",
                     check.change.mean > 0 ? "worse" : "better", format_general(std::abs(check.change.mean)),
                     unit, format_interval(check.change, unit), pairs,
                     pairs < pairs_enough ? ", so few that it is optimistic" : "",
                     format_general(check.budget), unit);
}

}  // namespace

std::vector<Check> judge_paired(std::span<const PairedMetric> metrics) {
  constexpr double alpha = 0.025;
  std::vector<Check> checks;
  std::vector<double> p_values;
  for (const PairedMetric& metric : metrics) {
    assert(metric.before.size() == metric.now.size() && !metric.before.empty());
    Check& check = checks.emplace_back();
    check.name = metric.name;
    check.unit = metric.unit;
    check.change_unit = metric.change_unit;
    check.budget = metric.budget * metric.change_scale;
    const auto shown = [&](double value) { return metric.shown ? metric.shown(value) : value; };
    check.before = shown(mean(metric.before));
    check.now = shown(mean(metric.now));
    std::vector<double> worse(metric.now.size());
    for (size_t i = 0; i < worse.size(); ++i)
      worse[i] = (metric.higher_is_better ? -1 : 1) * (metric.now[i] - metric.before[i]);
    const bool finite = std::ranges::all_of(worse, [](double value) { return std::isfinite(value); });
    p_values.push_back(finite ? p_value(worse, metric.budget) : 0);
    const bool equal = std::ranges::all_of(worse, [](double value) { return value == 0; });
    check.change = equal ? Interval{0, 0, 0} : mean_interval_95(worse);
    for (double* value : {&check.change.mean, &check.change.low, &check.change.high})
      *value *= metric.change_scale;
  }
  const std::vector<double> adjusted = holm(p_values);
  for (size_t i = 0; i < checks.size(); ++i) {
    Check& check = checks[i];
    check.p_value = adjusted[i];
    if (check.p_value < alpha)
      check.outcome = Outcome::regression;
    else
      check.outcome = check.change.high <= check.budget ? Outcome::pass : Outcome::inconclusive;
    check.reason = finding(check, std::ssize(metrics[i].now));
  }
  return checks;
}

}  // namespace whittle
