#include "bench/soak/series.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <utility>
#include <vector>

using namespace whittle;

TEST_CASE("However long a run, few points are kept, each the mean of its rounds, in order") {
  for (const auto& [rounds, first] : std::vector<std::pair<int64_t, int64_t>>{
           {0, 1}, {3, 1}, {9, 1}, {10, 1}, {11, 3}, {40, 1}, {77, 6}, {1000, 3}}) {
    CAPTURE(rounds, first);
    SoakSeries series(first, 10);
    for (int64_t i = 0; i < rounds; ++i) {
      const auto value = static_cast<double>(i);
      series.add({.seconds = value, .anonymous_bytes = 100 + 3 * value, .decode_ms = NAN});
    }
    const auto points = series.points();
    CHECK(points.size() < 10);
    int64_t counted = 0;
    for (const SoakPoint& point : points) {
      CHECK(point.rounds == points.front().rounds);
      CHECK(point.rounds % first == 0);
      // Of rounds counted .. counted + rounds − 1.
      CHECK(point.seconds ==
            Approx(static_cast<double>(counted) + static_cast<double>(point.rounds - 1) / 2));
      CHECK(point.anonymous_bytes == Approx(100 + 3 * point.seconds));
      CHECK(std::isnan(point.decode_ms));
      counted += point.rounds;
    }
    CHECK(counted <= rounds);
    CHECK(counted > rounds - (points.empty() ? first : points.front().rounds));
    CHECK(series.values(&SoakPoint::seconds).size() == points.size());
  }
}
