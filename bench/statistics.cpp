#include "bench/statistics.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <functional>
#include <limits>
#include <numbers>
#include <numeric>
#include <vector>

namespace whittle {

double quantile(std::span<const double> values, double q) {
  assert(!values.empty() && q >= 0 && q <= 1);
  std::vector<double> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  const double position = q * static_cast<double>(sorted.size() - 1);
  const size_t below = static_cast<size_t>(position);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above], position - static_cast<double>(below));
}

double median(std::span<const double> values) { return quantile(values, 0.5); }

Spread spread(std::span<const double> values) {
  const double middle = median(values);
  std::vector<double> deviations;
  deviations.reserve(values.size());
  for (double value : values) deviations.push_back(std::abs(value - middle));
  const auto [min, max] = std::minmax_element(values.begin(), values.end());
  return {static_cast<int64_t>(values.size()), middle, *min, *max, median(deviations)};
}

Interval mean_interval_95(std::span<const double> values) {
  assert(!values.empty());
  const double count = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
  if (values.size() == 1) {
    const double infinity = std::numeric_limits<double>::infinity();
    return {mean, -infinity, infinity};
  }
  double squares = 0;
  for (double value : values) squares += (value - mean) * (value - mean);
  const double half =
      student_t_95(static_cast<int64_t>(values.size()) - 1) * std::sqrt(squares / (count - 1) / count);
  return {mean, mean - half, mean + half};
}

Interval median_interval_95(std::span<const double> values) {
  const double middle = median(values);
  std::vector<double> sorted(values.begin(), values.end());
  std::ranges::sort(sorted);
  // Of n values, fewer than k lie below the true median with probability sum of C(n, i) / 2^n, i < k.
  const double count = static_cast<double>(values.size());
  const auto term = [&](double i) {  // in logarithms: 2^-n may be too small for a number
    return std::exp(std::lgamma(count + 1) - std::lgamma(i + 1) - std::lgamma(count - i + 1) -
                    count * std::log(2));
  };
  double sum = term(0);
  size_t k = 0;
  while (sum <= 0.025) sum += term(static_cast<double>(++k));
  const double infinity = std::numeric_limits<double>::infinity();
  if (k == 0) return {middle, -infinity, infinity};
  return {middle, sorted[k - 1], sorted[sorted.size() - k]};
}

namespace {

// P(|T| <= t) for a whole number of degrees of freedom: a finite sum (Abramowitz and Stegun 26.7.3
// and 26.7.4).
double student_central_probability(double t, int64_t degrees) {
  const double angle = std::atan(t / std::sqrt(static_cast<double>(degrees)));
  const double cos_squared = std::cos(angle) * std::cos(angle);
  const bool odd = degrees % 2 == 1;
  if (degrees == 1) return 2 * angle / std::numbers::pi;
  double term = odd ? std::cos(angle) : 1, sum = term;
  for (int64_t k = odd ? 3 : 2; k < degrees; k += 2) {
    term *= cos_squared * static_cast<double>(k - 1) / static_cast<double>(k);
    sum += term;
  }
  return odd ? 2 / std::numbers::pi * (angle + std::sin(angle) * sum) : std::sin(angle) * sum;
}

}  // namespace

double student_t_95(int64_t degrees_of_freedom) {
  assert(degrees_of_freedom >= 1);
  if (degrees_of_freedom >
      200) {  // the expansion about the normal quantile (A&S 26.7.5) is exact enough here
    const double z = 1.959963984540054, n = static_cast<double>(degrees_of_freedom);
    const double z3 = z * z * z, z5 = z3 * z * z, z7 = z5 * z * z;
    return z + (z3 + z) / (4 * n) + (5 * z5 + 16 * z3 + 3 * z) / (96 * n * n) +
           (3 * z7 + 19 * z5 + 17 * z3 - 15 * z) / (384 * n * n * n);
  }
  double low = 1.9, high = 13;
  for (int step = 0; step < 60; ++step) {
    const double middle = (low + high) / 2;
    (student_central_probability(middle, degrees_of_freedom) < 0.95 ? low : high) = middle;
  }
  return (low + high) / 2;
}

double median_ratio(std::span<const double> numerators, std::span<const double> denominators) {
  assert(numerators.size() == denominators.size());
  std::vector<double> ratios(numerators.size());
  std::transform(numerators.begin(), numerators.end(), denominators.begin(), ratios.begin(),
                 std::divides<>());
  return median(ratios);
}

}  // namespace whittle
