#include "bench/statistics.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "bench/proportions.h"

using namespace whittle;

TEST_CASE("quantiles interpolate between order statistics") {
  const std::vector<double> values = {40, 10, 30, 20, 50};
  CHECK(quantile(values, 0) == 10);
  CHECK(quantile(values, 0.25) == 20);
  CHECK(median(values) == 30);
  CHECK(quantile(values, 0.95) == Approx(48));
  CHECK(quantile(values, 0.99) == Approx(49.6));
  CHECK(quantile(values, 1) == 50);
  CHECK(median(std::vector<double>{1, 2}) == 1.5);
  CHECK(quantile(std::vector<double>{7}, 0.99) == 7);
}

TEST_CASE("quantiles grow with q, stay inside the values and do not depend on their order") {
  std::mt19937 random(1);
  for (int round = 0; round < 50; ++round) {
    std::vector<double> values(1 + random() % 40);
    for (double& value : values) value = std::normal_distribution<double>()(random);
    std::vector<double> shuffled = values;
    std::shuffle(shuffled.begin(), shuffled.end(), random);
    double last = *std::min_element(values.begin(), values.end());
    for (double q = 0; q <= 1; q += 0.05) {
      const double found = quantile(values, q);
      CHECK(found >= last);
      CHECK(found == quantile(shuffled, q));
      last = found;
    }
    CHECK(last <= *std::max_element(values.begin(), values.end()));
  }
}

TEST_CASE("the interval of a median holds it in 95 of 100 samples, whatever the distribution") {
  CHECK(std::isinf(median_interval_95(std::vector<double>{1, 2, 3, 4, 5}).low));
  const Interval six = median_interval_95(std::vector<double>{6, 1, 5, 2, 4, 3});
  CHECK(six.low == 1);
  CHECK(six.mean == 3.5);
  CHECK(six.high == 6);
  const Interval nine = median_interval_95(std::vector<double>{1, 2, 3, 4, 5, 6, 7, 8, 100});
  CHECK(nine.low == 2);
  CHECK(nine.high == 8);
  std::vector<double> many(4001);
  for (size_t i = 0; i < many.size(); ++i) many[i] = static_cast<double>(i);
  const Interval wide =
      median_interval_95(many);  // by the normal distribution: 2000 -+ 1.96 · sqrt(4001) / 2
  CHECK(wide.low == Approx(1938).margin(1));
  CHECK(wide.high == Approx(2062).margin(1));
  std::mt19937 random(2);
  constexpr int rounds = 4000;
  for (const size_t count : {6u, 9u, 20u, 101u}) {
    int held = 0;
    for (int round = 0; round < rounds; ++round) {
      std::vector<double> values(count);
      for (double& value : values) value = std::exponential_distribution<double>()(random);
      const Interval found = median_interval_95(values);
      held += found.low <= std::log(2) && std::log(2) <= found.high;
    }
    // Four standard deviations below 95 %.
    CHECK(held > rounds * 0.95 - 4 * std::sqrt(rounds * 0.95 * 0.05));
    CHECK(held < rounds * 0.99);
  }
}

TEST_CASE("one bad repeat moves the maximum but neither the median nor the deviation") {
  const Spread calm = spread(std::vector<double>{10, 11, 12, 13, 14});
  const Spread disturbed = spread(std::vector<double>{10, 11, 12, 13, 1000});
  CHECK(calm.count == 5);
  CHECK(calm.median == 12);
  CHECK(calm.min == 10);
  CHECK(calm.max == 14);
  CHECK(calm.median_absolute_deviation == 1);
  CHECK(disturbed.median == 12);
  CHECK(disturbed.max == 1000);
  CHECK(disturbed.median_absolute_deviation == 1);
}

TEST_CASE("Student's t is that of the published tables") {
  // Two-sided 95 %.
  CHECK(student_t_95(1) == Approx(12.7062047364).epsilon(1e-9));
  CHECK(student_t_95(2) == Approx(4.3026527297).epsilon(1e-9));
  CHECK(student_t_95(3) == Approx(3.1824463053).epsilon(1e-9));
  CHECK(student_t_95(10) == Approx(2.2281388520).epsilon(1e-9));
  CHECK(student_t_95(30) == Approx(2.0422724563).epsilon(1e-9));
  CHECK(student_t_95(100) == Approx(1.9839715185).epsilon(1e-9));
  CHECK(student_t_95(1000000000) == Approx(1.9599639845).epsilon(1e-8));
  for (int64_t degrees = 1; degrees < 400; ++degrees)
    CHECK(student_t_95(degrees + 1) < student_t_95(degrees));
  CHECK(student_t_95(200) - student_t_95(201) == Approx(student_t_95(201) - student_t_95(202)).epsilon(0.02));
}

TEST_CASE("the interval of a mean: by hand, of one value, of equal values") {
  const Interval interval = mean_interval_95(std::vector<double>{1, 2, 3, 4});
  CHECK(interval.mean == 2.5);
  CHECK(interval.high - interval.mean == Approx(3.1824463053 * std::sqrt(5.0 / 3 / 4)));
  CHECK(interval.mean - interval.low == Approx(interval.high - interval.mean));
  CHECK(std::isinf(mean_interval_95(std::vector<double>{5}).high));
  const Interval certain = mean_interval_95(std::vector<double>{3, 3, 3});
  CHECK(certain.low == 3);
  CHECK(certain.high == 3);
}

TEST_CASE("the interval holds the true mean in about 95 of 100 cases") {
  std::mt19937 random(7);
  std::normal_distribution<double> normal(10, 3);
  int held = 0;
  const int rounds = 4000;
  for (int round = 0; round < rounds; ++round) {
    std::vector<double> values(5);
    for (double& value : values) value = normal(random);
    const Interval interval = mean_interval_95(values);
    held += interval.low <= 10 && 10 <= interval.high;
  }
  CHECK(held == Approx(0.95 * rounds).margin(4 * std::sqrt(rounds * 0.95 * 0.05)));
}

TEST_CASE("a ratio of pairs does not see a machine that changes speed between pairs") {
  const std::vector<double> measured = {30, 30, 51, 51, 30}, probe = {40, 40, 68, 68, 40};
  CHECK(median_ratio(measured, probe) == Approx(0.75));
}

TEST_CASE("The tail of Student's t") {
  // Tables: 12.706 at 1 and 2.086 at 20 degrees of freedom leave 2.5 % above.
  CHECK(student_upper_tail(12.7062047, 1) == Approx(0.025));
  CHECK(student_upper_tail(2.0859634, 20) == Approx(0.025));
  CHECK(student_upper_tail(-2.0859634, 20) == Approx(0.975));
  CHECK(student_upper_tail(0, 7) == Approx(0.5));
  CHECK(student_upper_tail(std::numeric_limits<double>::infinity(), 3) == 0);
  CHECK(student_upper_tail(-std::numeric_limits<double>::infinity(), 3) == 1);
}

TEST_CASE("The Hodges-Lehmann interval has the coverage that all signs of the ranks give") {
  for (const int64_t count : {1, 2, 5, 6, 7, 10, 13}) {
    for (const double confidence : {0.9, 0.95, 0.99}) {
      INFO(count << " values, " << confidence);
      // Of all 2^n assignments of signs, how often is the sum of positive ranks below k?
      std::vector<int64_t> sums;
      for (int64_t signs = 0; signs < int64_t{1} << count; ++signs) {
        int64_t sum = 0;
        for (int64_t rank = 1; rank <= count; ++rank) sum += (signs >> (rank - 1) & 1) * rank;
        sums.push_back(sum);
      }
      int64_t k = 0;
      const auto below = [&](int64_t bound) {
        return static_cast<double>(std::ranges::count_if(sums, [&](int64_t sum) { return sum < bound; })) /
               static_cast<double>(sums.size());
      };
      while (below(k + 1) <= (1 - confidence) / 2) ++k;
      std::vector<double> values, means;
      for (int64_t i = 0; i < count; ++i) values.push_back(std::sin(static_cast<double>(7 * i + 1)));
      for (size_t i = 0; i < values.size(); ++i)
        for (size_t j = i; j < values.size(); ++j) means.push_back((values[i] + values[j]) / 2);
      std::ranges::sort(means);
      const Interval found = hodges_lehmann(values, confidence);
      CHECK(found.mean == Approx(median(means)));
      if (k == 0) {
        CHECK(std::isinf(found.low));
        CHECK(std::isinf(found.high));
      } else {
        CHECK(found.low == means[static_cast<size_t>(k) - 1]);
        CHECK(found.high == means[means.size() - static_cast<size_t>(k)]);
      }
    }
  }
}

TEST_CASE("Beyond sixty values the Hodges-Lehmann interval goes on as before") {
  std::vector<double> values;
  for (int i = 0; i < 60; ++i) values.push_back(std::sin(i * 1.7));
  const Interval exact = hodges_lehmann(values, 0.95);
  values.push_back(0);
  const Interval approximate = hodges_lehmann(values, 0.95);
  CHECK(approximate.high - approximate.low == Approx(exact.high - exact.low).epsilon(0.05));
}

TEST_CASE("Holm's adjustment: the smallest p times all of them, and never less than one before") {
  CHECK(holm(std::vector<double>{0.01, 0.04, 0.03}) == std::vector<double>{0.03, 0.06, 0.06});
  CHECK(holm(std::vector<double>{0.9, 0.5}) == std::vector<double>{1, 1});
  CHECK(holm(std::vector<double>{0.02}) == std::vector<double>{0.02});
}

TEST_CASE("The interval of a shift between two sets has the coverage that all arrangements give") {
  for (const auto& [m, n] : {std::pair(1, 1), {3, 3}, {4, 4}, {5, 5}, {5, 8}, {8, 3}, {7, 7}}) {
    INFO(m << " and " << n << " values");
    // Of all ways to arrange both sets, in how many are fewer than k pairs the one way round?
    std::vector<int64_t> pairs;
    for (int64_t chosen = 0; chosen < int64_t{1} << (m + n); ++chosen) {
      int64_t first = 0, lower = 0, found = 0;
      for (int rank = 0; rank < m + n; ++rank) {
        const bool of_first = (chosen >> rank & 1) != 0;
        first += of_first;
        found += of_first ? lower : 0;
        lower += !of_first;
      }
      if (first == m) pairs.push_back(found);
    }
    int64_t k = 0;
    const auto below = [&](int64_t bound) {
      return static_cast<double>(std::ranges::count_if(pairs, [&](int64_t u) { return u < bound; })) /
             static_cast<double>(pairs.size());
    };
    while (below(k + 1) <= 0.025) ++k;
    std::vector<double> before, now, differences;
    for (int i = 0; i < m; ++i) before.push_back(std::sin(7 * i + 1));
    for (int i = 0; i < n; ++i) now.push_back(1 + std::cos(5 * i + 2));
    for (const double from : before)
      for (const double to : now) differences.push_back(to - from);
    std::ranges::sort(differences);
    const Interval found = hodges_lehmann_shift(before, now, 0.95);
    CHECK(found.mean == Approx(median(differences)));
    if (k == 0) {
      CHECK(std::isinf(found.low));
      CHECK(std::isinf(found.high));
    } else {
      CHECK(found.low == differences[static_cast<size_t>(k) - 1]);
      CHECK(found.high == differences[differences.size() - static_cast<size_t>(k)]);
    }
  }
}

TEST_CASE("Beyond eighty values the interval of a shift goes on as before") {
  std::vector<double> before, now;
  for (int i = 0; i < 40; ++i) before.push_back(std::sin(i * 1.7));
  for (int i = 0; i < 40; ++i) now.push_back(3 + std::sin(i * 2.3));
  const Interval exact = hodges_lehmann_shift(before, now, 0.95);
  CHECK(exact.low < 3);
  CHECK(exact.high > 3);
  now.push_back(3);
  const Interval approximate = hodges_lehmann_shift(before, now, 0.95);
  CHECK(approximate.high - approximate.low == Approx(exact.high - exact.low).epsilon(0.05));
}

TEST_CASE("Two intervals make that of the difference: an example of Newcombe's, and means as usual") {
  // 56 of 70 and 48 of 80, with their Wilson intervals: 0.2, from 0.0524 to 0.3339.
  const Interval found = interval_of_difference(wilson_interval_95(48, 80), wilson_interval_95(56, 70));
  CHECK(found.mean == Approx(0.2));
  CHECK(found.low == Approx(0.0524).margin(5e-5));
  CHECK(found.high == Approx(0.3339).margin(5e-5));
  const Interval symmetric = interval_of_difference({1, 0.7, 1.3}, {3, 2.6, 3.4});
  CHECK(symmetric.low == Approx(2 - 0.5));
  CHECK(symmetric.high == Approx(2 + 0.5));
}
