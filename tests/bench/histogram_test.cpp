#include "bench/histogram.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

using namespace whittle;

TEST_CASE("Every value is counted once, where it lies, in steps of equal ratio") {
  std::mt19937 random(3);
  for (const size_t count : {1, 2, 3, 17, 1000, 20000}) {
    std::vector<double> values(count);
    for (double& value : values) value = std::exp(std::normal_distribution<double>()(random));
    const Histogram found = log_histogram(values);
    REQUIRE(found.edges.size() == found.counts.size() + 1);
    CHECK(found.counts.size() <= 40);
    CHECK(found.edges.front() == std::ranges::min(values));
    CHECK(found.edges.back() == std::ranges::max(values));
    CHECK(std::accumulate(found.counts.begin(), found.counts.end(), int64_t{0}) ==
          static_cast<int64_t>(count));
    for (size_t i = 0; i < found.counts.size(); ++i) {
      const bool last = i + 1 == found.counts.size();
      const auto inside = std::ranges::count_if(values, [&](double value) {
        return value >= found.edges[i] &&
               (value < found.edges[i + 1] || (last && value == found.edges[i + 1]));
      });
      CHECK(found.counts[i] == inside);
      if (count > 1)
        CHECK(found.edges[i + 1] / found.edges[i] == Approx(found.edges[1] / found.edges[0]).epsilon(1e-6));
    }
  }
}

TEST_CASE("What is no time is in no histogram") {
  const double infinity = std::numeric_limits<double>::infinity();
  const Histogram found = log_histogram(std::vector<double>{2, NAN, -1, 0, infinity, 2});
  CHECK(found.edges == std::vector<double>{2, 2});
  CHECK(found.counts == std::vector<int64_t>{2});
  CHECK(log_histogram(std::vector<double>{NAN, 0}).counts.empty());
}
