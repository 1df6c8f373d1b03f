#include "quant/frontier/dominance.h"

#include <catch2/catch.hpp>
#include <limits>
#include <random>

#include "quant/frontier/standings.h"

using namespace whittle;

namespace {

constexpr double nan_value = std::numeric_limits<double>::quiet_NaN();

// By the definition, pair by pair.
bool beats(const TradeOff& a, const TradeOff& b) {
  const bool no_worse = a.kl <= b.kl && a.cost <= b.cost;
  return no_worse && !(a.kl == b.kl && a.cost == b.cost);
}

}  // namespace

TEST_CASE("What dominates a recipe is what the definition says, of least KL, then of least cost") {
  std::mt19937 random(3);
  size_t dominated = 0, free = 0;
  for (int round = 0; round < 400; ++round) {
    std::vector<TradeOff> points(random() % 12);
    // Few values, so that there are ties in either and in both.
    for (TradeOff& point : points)
      point = {random() % 9 == 0 ? nan_value : static_cast<double>(random() % 5),
               random() % 9 == 0 ? nan_value : static_cast<double>(random() % 5) - 2};
    const auto found = dominators(points);
    REQUIRE(found.size() == points.size());
    for (size_t i = 0; i < points.size(); ++i) {
      const TradeOff* best = nullptr;
      for (const TradeOff& other : points)
        if (beats(other, points[i]) &&
            (!best || other.kl < best->kl || (other.kl == best->kl && other.cost < best->cost)))
          best = &other;
      REQUIRE(found[i].has_value() == (best != nullptr));
      (best ? dominated : free) += 1;
      if (!best) continue;
      CHECK(points[*found[i]].kl == best->kl);
      CHECK(points[*found[i]].cost == best->cost);
    }
  }
  CHECK(dominated > 100);
  CHECK(free > 100);
}

TEST_CASE("Whoever dominates is on the frontier, unless one of less cost has the same KL") {
  std::mt19937 random(4);
  for (int round = 0; round < 100; ++round) {
    std::vector<TradeOff> points(1 + random() % 20);
    for (TradeOff& point : points)
      point = {std::uniform_real_distribution<>()(random), std::uniform_real_distribution<>()(random)};
    const auto found = dominators(points);
    for (const auto& dominator : found)
      if (dominator) CHECK_FALSE(found[*dominator].has_value());
  }
}

TEST_CASE("Recipes that failed or lack a figure are not compared, and beat nobody") {
  std::vector<RecipeResult> results(4);
  for (RecipeResult& result : results) {
    result.status = RecipeResult::Status::measured;
    result.kl = {0.1, 0.1, 0.1};
    result.disk_bytes = 100;
    result.decode_speedup = {1, 1, 1};
  }
  results[1].kl.mean = 0.05;
  results[1].decode_speedup = RecipeResult::no_interval();
  results[2].status = RecipeResult::Status::failed;
  results[2].kl.mean = 0;
  results[3].decode_speedup.mean = 2;
  const auto all = standings(results);
  REQUIRE(all.size() == 2);
  CHECK(all[0][0].dominator == size_t{1});
  CHECK(all[0][1].on_frontier());
  CHECK_FALSE(all[0][2].compared);
  CHECK_FALSE(all[0][2].on_frontier());
  CHECK(all[1][0].dominator == size_t{3});
  CHECK_FALSE(all[1][1].compared);
  CHECK(all[1][3].on_frontier());
}
