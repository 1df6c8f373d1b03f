#include "bench/soak/slope.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <vector>

namespace whittle {
namespace {

constexpr size_t most_blocks = 24;

// Means of at most `most_blocks` stretches, whose lengths differ by at most one.
std::vector<double> block_means(std::span<const double> values) {
  const size_t blocks = std::min(most_blocks, values.size());
  std::vector<double> means;
  for (size_t i = 0; i < blocks; ++i) {
    const size_t begin = i * values.size() / blocks, end = (i + 1) * values.size() / blocks;
    means.push_back(mean(values.subspan(begin, end - begin)));
  }
  return means;
}

}  // namespace

Slope slope_of(std::span<const double> all_x, std::span<const double> all_y) {
  assert(all_x.size() == all_y.size());
  std::vector<double> finite_x, finite_y;
  for (size_t i = 0; i < all_x.size(); ++i)
    if (std::isfinite(all_x[i]) && std::isfinite(all_y[i])) {
      finite_x.push_back(all_x[i]);
      finite_y.push_back(all_y[i]);
    }
  constexpr double infinity = std::numeric_limits<double>::infinity();
  Slope slope{{std::numeric_limits<double>::quiet_NaN(), -infinity, infinity}};
  const std::vector<double> x = block_means(finite_x), y = block_means(finite_y);
  slope.blocks = std::ssize(x);
  if (slope.blocks < 2) return slope;

  const double mean_x = mean(x), mean_y = mean(y);
  double xx = 0, xy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    xx += (x[i] - mean_x) * (x[i] - mean_x);
    xy += (x[i] - mean_x) * (y[i] - mean_y);
  }
  if (xx <= 0) return slope;
  slope.found.mean = xy / xx;
  if (slope.blocks < fewest_blocks) return slope;

  double squares = 0, products = 0, before = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double residual = y[i] - mean_y - slope.found.mean * (x[i] - mean_x);
    squares += residual * residual;
    if (i) products += residual * before;
    before = residual;
  }
  slope.autocorrelation = squares > 0 ? products / squares : 0;
  const double r = std::max(0.0, slope.autocorrelation);
  const double degrees = std::max(1.0, static_cast<double>(slope.blocks) * (1 - r) / (1 + r) - 2);
  const double half = student_t_95(static_cast<int64_t>(degrees)) * std::sqrt(squares / degrees / xx);
  slope.found.low = slope.found.mean - half;
  slope.found.high = slope.found.mean + half;
  return slope;
}

Verdict judge_growth(const Interval& growth, double limit) {
  if (growth.low > 0 && growth.mean > limit) return Verdict::exceeded;
  return growth.mean <= limit && growth.high <= limit ? Verdict::kept : Verdict::undecided;
}

}  // namespace whittle
