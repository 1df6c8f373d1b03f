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

double mean(std::span<const double> values) {
  assert(!values.empty());
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

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
  const double middle = mean(values);
  if (values.size() == 1) {
    const double infinity = std::numeric_limits<double>::infinity();
    return {middle, -infinity, infinity};
  }
  double squares = 0;
  for (double value : values) squares += (value - middle) * (value - middle);
  const double half =
      student_t_95(static_cast<int64_t>(values.size()) - 1) * std::sqrt(squares / (count - 1) / count);
  return {middle, middle - half, middle + half};
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

double student_upper_tail(double t, int64_t degrees_of_freedom) {
  assert(degrees_of_freedom >= 1);
  if (std::isinf(t)) return t > 0 ? 0 : 1;
  const double outside = (1 - student_central_probability(std::abs(t), degrees_of_freedom)) / 2;
  return t > 0 ? std::max(0.0, outside) : 1 - outside;
}

namespace {

// Of the standard normal distribution; tail below 1/2.
double normal_quantile(double tail) {
  double low = -10, high = 0;
  for (int step = 0; step < 60; ++step) {
    const double middle = (low + high) / 2;
    (std::erfc(-middle / std::numbers::sqrt2) / 2 < tail ? low : high) = middle;
  }
  return low;
}

// The most k for which P(V < k) <= tail, V the sum of those ranks of 1 … n whose sign is positive, each with
// probability 1/2.
int64_t signed_rank_quantile(int64_t n, double tail) {
  constexpr int64_t exact = 60;
  const int64_t most = n * (n + 1) / 2;
  if (n > exact) {
    const auto count = static_cast<double>(n);
    const double deviation = std::sqrt(count * (count + 1) * (2 * count + 1) / 24);
    return std::max<int64_t>(
        0, static_cast<int64_t>(static_cast<double>(most) / 2 + normal_quantile(tail) * deviation));
  }
  std::vector<double> probability(static_cast<size_t>(most) + 1, 0);
  probability[0] = 1;
  for (int64_t rank = 1; rank <= n; ++rank)
    for (int64_t sum = rank * (rank + 1) / 2; sum >= 0; --sum) {
      double& here = probability[static_cast<size_t>(sum)];
      here = (here + (sum >= rank ? probability[static_cast<size_t>(sum - rank)] : 0)) / 2;
    }
  double below = 0;
  for (int64_t k = 0; k <= most; ++k) {
    below += probability[static_cast<size_t>(k)];
    if (below > tail) return k;
  }
  return most;
}

}  // namespace

Interval hodges_lehmann(std::span<const double> values, double confidence) {
  assert(!values.empty() && confidence > 0 && confidence < 1);
  std::vector<double> means;
  for (size_t i = 0; i < values.size(); ++i)
    for (size_t j = i; j < values.size(); ++j) means.push_back((values[i] + values[j]) / 2);
  std::ranges::sort(means);
  const double infinity = std::numeric_limits<double>::infinity();
  const auto k = static_cast<size_t>(signed_rank_quantile(std::ssize(values), (1 - confidence) / 2));
  if (k == 0) return {median(means), -infinity, infinity};
  return {median(means), means[k - 1], means[means.size() - k]};
}

namespace {

// The most k for which P(U < k) <= tail, U the number of pairs of m and n values in which the former is
// above.
int64_t rank_sum_quantile(int64_t m, int64_t n, double tail) {
  constexpr int64_t exact = 80;
  if (m + n > exact) {
    const double product = static_cast<double>(m) * static_cast<double>(n);
    const double deviation = std::sqrt(product * static_cast<double>(m + n + 1) / 12);
    return std::max<int64_t>(0, static_cast<int64_t>(product / 2 + normal_quantile(tail) * deviation));
  }
  // ways[i][u]: i values chosen out of those looked at, u pairs with one that is not chosen and lower.
  std::vector<std::vector<double>> ways(static_cast<size_t>(m) + 1,
                                        std::vector<double>(static_cast<size_t>(m * n) + 1, 0));
  ways[0][0] = 1;
  for (int64_t rank = 0; rank < m + n; ++rank)
    for (int64_t i = std::min(m, rank + 1); i >= 1; --i) {
      const int64_t lower = rank - (i - 1);  // not chosen
      if (lower > n) continue;
      for (int64_t u = m * n; u >= lower; --u)
        ways[static_cast<size_t>(i)][static_cast<size_t>(u)] +=
            ways[static_cast<size_t>(i - 1)][static_cast<size_t>(u - lower)];
    }
  const std::vector<double>& all = ways.back();
  const double total = std::accumulate(all.begin(), all.end(), 0.0);
  double below = 0;
  for (size_t k = 0; k < all.size(); ++k) {
    below += all[k] / total;
    if (below > tail) return static_cast<int64_t>(k);
  }
  return m * n;
}

}  // namespace

Interval hodges_lehmann_shift(std::span<const double> before, std::span<const double> now,
                              double confidence) {
  assert(!before.empty() && !now.empty() && confidence > 0 && confidence < 1);
  std::vector<double> differences;
  for (const double from : before)
    for (const double to : now) differences.push_back(to - from);
  std::ranges::sort(differences);
  const double infinity = std::numeric_limits<double>::infinity();
  const auto k =
      static_cast<size_t>(rank_sum_quantile(std::ssize(before), std::ssize(now), (1 - confidence) / 2));
  if (k == 0) return {median(differences), -infinity, infinity};
  return {median(differences), differences[k - 1], differences[differences.size() - k]};
}

Interval interval_of_difference(const Interval& before, const Interval& now) {
  const double difference = now.mean - before.mean;
  return {difference, difference - std::hypot(now.mean - now.low, before.high - before.mean),
          difference + std::hypot(now.high - now.mean, before.mean - before.low)};
}

std::vector<double> holm(std::span<const double> p_values) {
  std::vector<size_t> order(p_values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, {}, [&](size_t i) { return p_values[i]; });
  std::vector<double> adjusted(p_values.size());
  double largest = 0;
  for (size_t rank = 0; rank < order.size(); ++rank) {
    const double stepped = static_cast<double>(order.size() - rank) * p_values[order[rank]];
    adjusted[order[rank]] = largest = std::max(largest, std::min(1.0, stepped));
  }
  return adjusted;
}

double median_ratio(std::span<const double> numerators, std::span<const double> denominators) {
  assert(numerators.size() == denominators.size());
  std::vector<double> ratios(numerators.size());
  std::transform(numerators.begin(), numerators.end(), denominators.begin(), ratios.begin(),
                 std::divides<>());
  return median(ratios);
}

}  // namespace whittle
