#include "bench/proportions.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <random>
#include <vector>

using namespace whittle;

namespace {

constexpr double z = 1.959963984540054;

// The proportion on one side of `found` from which `found` lies z standard deviations away, by bisection.
double wilson_end(double found, double n, double inside, double outside) {
  for (int step = 0; step < 200; ++step) {
    const double middle = (inside + outside) / 2;
    (std::abs(found - middle) <= z * std::sqrt(middle * (1 - middle) / n) ? inside : outside) = middle;
  }
  return inside;
}

// Each of the 2^n ways to split n flips, counted by Pascal's triangle.
double slow_mcnemar(int b, int c) {
  std::vector<long double> ways = {1};
  for (int row = 0; row < b + c; ++row) {
    std::vector<long double> next(ways.size() + 1, 0);
    for (size_t i = 0; i < ways.size(); ++i) {
      next[i] += ways[i] / 2;
      next[i + 1] += ways[i] / 2;
    }
    ways = next;
  }
  long double sum = 0;
  for (int i = 0; i <= b + c; ++i)
    if (std::abs(2 * i - (b + c)) >= std::abs(b - c)) sum += ways[static_cast<size_t>(i)];
  return static_cast<double>(sum);
}

}  // namespace

TEST_CASE("Wilson's interval ends where the found proportion is just within 1.96 deviations") {
  for (const int64_t n : {1, 2, 7, 50, 1000})
    for (int64_t k = 0; k <= n; k += std::max<int64_t>(1, n / 13)) {
      INFO(k << " of " << n);
      const Interval found = wilson_interval_95(k, n);
      const auto count = static_cast<double>(n);
      CHECK(found.mean == static_cast<double>(k) / count);
      CHECK(found.low == Approx(wilson_end(found.mean, count, found.mean, 0)).margin(1e-12));
      CHECK(found.high == Approx(wilson_end(found.mean, count, found.mean, 1)).margin(1e-12));
      CHECK((found.low >= 0 && found.low < found.high && found.high <= 1));
    }
}

TEST_CASE("McNemar's exact p counts the splits that are at least as uneven") {
  for (int b = 0; b < 25; ++b)
    for (int c = 0; c < 25; ++c) {
      CHECK(mcnemar_exact(b, c) == Approx(slow_mcnemar(b, c)).epsilon(1e-10));
      CHECK(mcnemar_exact(b, c) == mcnemar_exact(c, b));
    }
  CHECK(mcnemar_exact(0, 0) == 1);
  CHECK(mcnemar_exact(5, 0) == Approx(2 / 32.0));
  CHECK(mcnemar_exact(100000, 100000) == 1);
  CHECK(mcnemar_exact(1000, 3000) >= 0);
  CHECK(mcnemar_exact(1000, 3000) < 1e-200);
}

TEST_CASE("The interval of a loss holds the true one in about 95 of 100 samples, and is never a point") {
  CHECK(paired_loss_interval_95(0, 0, 10).low < 0);
  CHECK(paired_loss_interval_95(0, 0, 10).high > 0);
  const Interval some = paired_loss_interval_95(12, 5, 100);
  CHECK(some.mean == 0.07);
  // Wald's interval of 102 answers of which 12.5 and 5.5 flipped.
  const double variance = (12.5 + 5.5 - 7.0 * 7.0 / 102) / (102.0 * 102.0);
  CHECK(some.low == Approx(7.0 / 102 - z * std::sqrt(variance)));
  CHECK(some.high == Approx(7.0 / 102 + z * std::sqrt(variance)));
  std::mt19937 random(3);
  constexpr int rounds = 4000;
  for (const int n : {30, 200})
    for (const auto& [lost, won] :
         std::vector<std::pair<double, double>>{{0.1, 0.1}, {0.2, 0.05}, {0.02, 0.01}}) {
      int held = 0;
      for (int round = 0; round < rounds; ++round) {
        int b = 0, c = 0;
        for (int i = 0; i < n; ++i) {
          const double draw = std::uniform_real_distribution<double>()(random);
          b += draw < lost;
          c += draw >= lost && draw < lost + won;
        }
        const Interval found = paired_loss_interval_95(b, c, n);
        held += found.low <= lost - won && lost - won <= found.high;
      }
      INFO(n << " " << lost << " " << won);
      CHECK(held > 0.93 * rounds);
    }
}
