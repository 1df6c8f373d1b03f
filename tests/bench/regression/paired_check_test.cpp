// Non-inferiority with pairs: what passes, what is a regression, and what nobody can say.

#include "bench/regression/paired_check.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

using namespace whittle;

namespace {

// `count` windows that differ much from each other, and little and by `shift` from themselves.
PairedMetric metric(int64_t count, double shift, double noise, uint64_t seed, double budget = 0.01) {
  std::mt19937_64 generator(seed);
  std::normal_distribution<double> normal;
  PairedMetric made{.name = "nll", .budget = budget};
  for (int64_t i = 0; i < count; ++i) {
    made.before.push_back(2 + normal(generator));
    made.now.push_back(made.before.back() + shift + noise * normal(generator));
  }
  return made;
}

Outcome judged(const PairedMetric& one) { return judge_paired({&one, 1}).front().outcome; }

}  // namespace

TEST_CASE("What did not change passes, with a budget of nothing too") {
  PairedMetric same = metric(40, 0, 0, 1, 0);
  CHECK(judged(same) == Outcome::pass);
  same.now.front() += 1e-9;
  CHECK(judged(same) != Outcome::pass);
}

TEST_CASE("Pairs see a change that is a hundredth of what windows differ by") {
  CHECK(judged(metric(60, 0.02, 0.005, 2)) == Outcome::regression);
  CHECK(judged(metric(60, 0.005, 0.005, 3)) == Outcome::pass);
  CHECK(judged(metric(60, -0.5, 0.005, 4)) == Outcome::pass);
}

TEST_CASE("Between certain and certain lies inconclusive") {
  PairedMetric even{.name = "nll", .before = std::vector<double>(10, 2), .budget = 0.01};
  for (int i = 0; i < 10; ++i) even.now.push_back(2 + 0.02 * (i % 2));  // the budget, on average
  CHECK(judged(even) == Outcome::inconclusive);
  CHECK(judged(metric(1, 0.5, 0, 6)) == Outcome::regression);  // no spread, all of it above
}

TEST_CASE("Higher may be better") {
  PairedMetric accuracy = metric(60, 0.02, 0.005, 7);
  accuracy.higher_is_better = true;
  CHECK(judged(accuracy) == Outcome::pass);
  std::swap(accuracy.before, accuracy.now);
  CHECK(judged(accuracy) == Outcome::regression);
}

TEST_CASE("What is no number is a regression") {
  for (const double value : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    PairedMetric broken = metric(40, 0, 0.001, 8);
    broken.now[7] = value;
    CHECK(judged(broken) == Outcome::regression);
  }
}

TEST_CASE("Without a real change, several metrics together are rarely called a regression") {
  int64_t regressions = 0;
  constexpr int64_t runs = 400;
  for (int64_t run = 0; run < runs; ++run) {
    std::vector<PairedMetric> metrics;
    // The change is the budget itself: the worst that is allowed.
    for (uint64_t i = 0; i < 4; ++i)
      metrics.push_back(metric(30, 0.01, 0.01, static_cast<uint64_t>(run) * 4 + i));
    regressions += verdict(judge_paired(metrics)) == Outcome::regression;
  }
  // At most 2.5 % are expected, 10 of 400; 20 would be three standard deviations more.
  CHECK(regressions <= 20);
}

TEST_CASE("The verdict is the worst that counts") {
  const auto of = [](std::vector<Outcome> outcomes) {
    std::vector<Check> checks;
    for (const Outcome outcome : outcomes) checks.push_back({.name = "a", .outcome = outcome});
    return verdict(checks);
  };
  CHECK(of({}) == Outcome::pass);
  CHECK(of({Outcome::pass, Outcome::not_judged}) == Outcome::pass);
  CHECK(of({Outcome::incomparable, Outcome::pass}) == Outcome::incomparable);
  CHECK(of({Outcome::inconclusive, Outcome::incomparable}) == Outcome::inconclusive);
  CHECK(of({Outcome::inconclusive, Outcome::regression, Outcome::pass}) == Outcome::regression);
}
