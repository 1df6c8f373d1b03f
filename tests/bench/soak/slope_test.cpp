// Drift that was planted is found, and none is found where none was.

#include "bench/soak/slope.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

using namespace whittle;

namespace {

constexpr double unknown = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

// y = slope · i + noise, where a value keeps `memory` of the noise before it.
std::vector<double> series(std::mt19937_64& random, int64_t count, double slope, double memory) {
  std::normal_distribution<double> normal;
  std::vector<double> values;
  double noise = 0;
  for (int64_t i = 0; i < count; ++i) {
    noise = memory * noise + std::sqrt(1 - memory * memory) * normal(random);
    values.push_back(slope * static_cast<double>(i) + noise);
  }
  return values;
}

std::vector<double> counted(size_t count) {
  std::vector<double> x;
  for (size_t i = 0; i < count; ++i) x.push_back(static_cast<double>(i));
  return x;
}

// How often, of `tries`, the interval leaves the true slope out.
double missed(double memory, double slope, int tries) {
  std::mt19937_64 random(5);
  int misses = 0;
  const std::vector<double> x = counted(600);
  for (int i = 0; i < tries; ++i) {
    const Interval found = slope_of(x, series(random, 600, slope, memory)).found;
    misses += found.low > slope || found.high < slope;
  }
  return static_cast<double>(misses) / tries;
}

}  // namespace

TEST_CASE("The slope is that of the normal equations, solved the long way") {
  std::mt19937_64 random(1);
  for (const size_t count : {8u, 13u, 24u}) {  // each point a block of its own
    std::vector<double> x = counted(count), y = series(random, static_cast<int64_t>(count), 0.3, 0);
    for (double& value : x) value = value * value / 10 + 2;
    long double n = 0, sx = 0, sy = 0, sxx = 0, sxy = 0;
    for (size_t i = 0; i < count; ++i) {
      n += 1;
      sx += x[i];
      sy += y[i];
      sxx += static_cast<long double>(x[i]) * x[i];
      sxy += static_cast<long double>(x[i]) * y[i];
    }
    const long double slope = (n * sxy - sx * sy) / (n * sxx - sx * sx), start = (sy - slope * sx) / n;
    const Slope found = slope_of(x, y);
    CHECK(found.blocks == static_cast<int64_t>(count));
    CHECK(found.found.mean == Approx(static_cast<double>(slope)));
    if (found.autocorrelation > 0) continue;
    // Without correlation the interval is the textbook's.
    long double squares = 0;
    for (size_t i = 0; i < count; ++i) squares += std::pow(y[i] - start - slope * x[i], 2.0L);
    const long double error = std::sqrt(squares / (n - 2) / (sxx - sx * sx / n));
    CHECK(found.found.high - found.found.mean ==
          Approx(static_cast<double>(error) * student_t_95(static_cast<int64_t>(count) - 2)));
  }
}

TEST_CASE(
    "The interval holds the true slope in about 95 of 100 series, and in not much less where noise lasts") {
  for (const double slope : {0.0, 0.01}) {
    CHECK(missed(0, slope, 400) < 0.08);
    CHECK(missed(0, slope, 400) > 0.005);
    CHECK(missed(0.9, slope, 400) < 0.10);
    CHECK(missed(0.98, slope, 400) < 0.15);
  }
}

TEST_CASE("Drift is found, and its absence too; too little says nothing") {
  std::mt19937_64 random(2);
  const std::vector<double> x = counted(500);
  const auto growth = [&](double slope) {
    const Interval found = slope_of(x, series(random, 500, slope, 0.5)).found;
    return Interval{500 * found.mean, 500 * found.low, 500 * found.high};
  };
  CHECK(judge_growth(growth(0.01), 2) == Verdict::exceeded);  // 5 from beginning to end
  CHECK(judge_growth(growth(0), 2) == Verdict::kept);
  CHECK(judge_growth(growth(-0.01), 2) == Verdict::kept);
  CHECK(judge_growth(growth(0.01), 20) == Verdict::kept);
  // Without any noise, and in steps.
  std::vector<double> line, steps;
  for (const double at : x) {
    line.push_back(1e9 + 3 * at);
    steps.push_back(1e9 + 300 * std::floor(at / 100));
  }
  CHECK(judge_growth(slope_of(x, line).found, 1) == Verdict::exceeded);
  CHECK(judge_growth(slope_of(x, steps).found, 1) == Verdict::exceeded);
  for (const size_t count : {0u, 1u, 2u, 7u}) {
    const Slope found = slope_of(counted(count), counted(count));
    CHECK(found.found.high == infinity);
    CHECK(judge_growth(found.found, 1) == Verdict::undecided);
  }
}

TEST_CASE("A verdict is by the interval: surely above nothing and probably above the limit") {
  CHECK(judge_growth({3, 1, 5}, 2) == Verdict::exceeded);
  CHECK(judge_growth({3, -1, 7}, 2) == Verdict::undecided);
  CHECK(judge_growth({1, 0.5, 1.5}, 2) == Verdict::kept);
  CHECK(judge_growth({1, 0.5, 2.5}, 2) == Verdict::undecided);
  CHECK(judge_growth({unknown, -infinity, infinity}, 2) == Verdict::undecided);
}

TEST_CASE("What is unknown or stands still has no slope, or one of nothing") {
  const std::vector<double> x = counted(20), flat(20, 7.0), none(20, unknown), at_once(20, 3.0);
  const Slope still = slope_of(x, flat);
  CHECK(still.found.low == 0);
  CHECK(still.found.high == 0);
  CHECK(slope_of(x, none).blocks == 0);
  CHECK(std::isnan(slope_of(at_once, x).found.mean));
  std::vector<double> holes = x;
  holes[3] = unknown;
  holes[9] = infinity;
  CHECK(slope_of(x, holes).found.mean == Approx(1));
}
