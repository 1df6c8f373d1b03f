#include "bench/proportions.h"

#include <algorithm>
#include <cassert>
#include <cmath>

namespace whittle {
namespace {

constexpr double z = 1.959963984540054;  // the normal distribution's two-sided 95 %

}  // namespace

Interval wilson_interval_95(int64_t successes, int64_t count) {
  assert(count >= 1 && successes >= 0 && successes <= count);
  const auto n = static_cast<double>(count);
  const double p = static_cast<double>(successes) / n;
  const double centre = (p + z * z / (2 * n)) / (1 + z * z / n);
  const double half = z / (1 + z * z / n) * std::sqrt(p * (1 - p) / n + z * z / (4 * n * n));
  // At both ends the interval touches them, but for rounding.
  return {p, successes == 0 ? 0 : centre - half, successes == count ? 1 : centre + half};
}

double mcnemar_exact(int64_t b, int64_t c) {
  assert(b >= 0 && c >= 0);
  const auto n = static_cast<double>(b + c);
  double tail = 0;  // P(at most min(b, c)) of a binomial distribution with 1/2
  for (int64_t i = 0; i <= std::min(b, c); ++i) {
    const auto k = static_cast<double>(i);
    // In logarithms: 2^-n may be too small for a number.
    tail += std::exp(std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1) - n * std::log(2));
  }
  return std::min(1.0, 2 * tail);
}

Interval paired_loss_interval_95(int64_t b, int64_t c, int64_t count) {
  assert(b >= 0 && c >= 0 && count >= 1 && b + c <= count);
  const double more_b = static_cast<double>(b) + 0.5, more_c = static_cast<double>(c) + 0.5;
  const double n = static_cast<double>(count) + 2, difference = more_b - more_c;
  const double half = z * std::sqrt(more_b + more_c - difference * difference / n) / n;
  return {static_cast<double>(b - c) / static_cast<double>(count), difference / n - half,
          difference / n + half};
}

}  // namespace whittle
