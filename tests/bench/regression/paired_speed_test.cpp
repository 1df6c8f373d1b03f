// Two programs in turns, on machines that are made up: nothing here is timed.

#include "bench/regression/paired_speed.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <memory>
#include <random>
#include <vector>

#include "kernels/error.h"
#include "tests/support/program.h"

using namespace whittle;

namespace {

// A machine that drifts, is disturbed now and then, and gives each process a speed of its own.
struct FakeMachine {
  FakeMachine(uint64_t seed, double spread) : generator(seed), noise(spread) {}
  std::mt19937_64 generator;
  double noise;
  int64_t turns = 0;

  StartSide side(double slowdown) {
    return [this, slowdown](int) {
      std::normal_distribution<double> normal;
      const double own = 1 + 0.003 * normal(generator);
      return [this, slowdown, own] {
        std::normal_distribution<double> jitter;
        const double drift = 1 + 0.3 * std::sin(static_cast<double>(turns++) / 200);
        const double disturbed = turns % 7 == 0 ? 2.5 : 1;
        const double time =
            1e-3 * slowdown * own * drift * disturbed * std::exp(noise * std::abs(jitter(generator)));
        return Turn{time, time / 10};
      };
    };
  }
};

PairedSpeedOptions quick() {
  PairedSpeedOptions options;
  options.round_seconds = 0;
  options.pause_seconds = 0;
  return options;
}

Outcome judged(double slowdown, uint64_t seed, double noise = 0.02) {
  FakeMachine machine(seed, noise);
  return compare_speed({machine.side(1), machine.side(slowdown)}, quick()).decode.outcome;
}

}  // namespace

TEST_CASE("The same speed passes, a tenth slower is a regression, faster passes") {
  int64_t passed = 0, found = 0;
  constexpr int64_t runs = 20;
  for (uint64_t seed = 0; seed < runs; ++seed) {
    const Outcome same = judged(1, seed);
    CHECK(same != Outcome::regression);
    passed += same == Outcome::pass;
    const Outcome slower = judged(1.1, seed + 100);
    CHECK(slower != Outcome::pass);
    found += slower == Outcome::regression;
    CHECK(judged(0.8, seed + 200) == Outcome::pass);
  }
  CHECK(passed >= runs - 2);
  CHECK(found >= runs - 1);
}

namespace {

// Every `every`th turn of a process has all its CPUs; the others take twice as long, sooner or later.
StartSide disturbed_side(double slowdown, int every, int64_t* processes = nullptr) {
  return [=](int) {
    if (processes) ++*processes;
    return [=, turn = 0]() mutable {
      const bool calm = every && turn++ % every == 0;
      const double seconds = 1e-3 * slowdown * (calm ? 1 : 2 - 0.9 * (turn % 7 == 0));
      return Turn{seconds, seconds, calm};
    };
  };
}

}  // namespace

TEST_CASE("Where some turns keep their CPUs, these alone count") {
  for (const double slowdown : {1.0, 1.06}) {
    const PairedSpeed speed = compare_speed({disturbed_side(1, 2), disturbed_side(slowdown, 3)}, quick());
    CHECK(speed.decode.outcome == (slowdown == 1 ? Outcome::pass : Outcome::regression));
    for (const double change : speed.decode.change) CHECK(change == Approx(std::log(slowdown)).margin(1e-12));
    CHECK(speed.dropped_rounds == 0);
  }
}

TEST_CASE("A round in which one side never keeps its CPUs is no match, and decides nothing") {
  PairedSpeedOptions options = quick();
  options.most_seconds = 0;
  int64_t processes = 0;
  const PairedSpeed speed =
      compare_speed({disturbed_side(1, 0, &processes), disturbed_side(1, 1, &processes)}, options);
  CHECK(speed.rounds == 0);
  CHECK(speed.dropped_rounds == 8);
  CHECK(processes == 3 * 8);
  for (const PairedPhase* phase : {&speed.prefill, &speed.decode}) {
    CHECK(phase->outcome == Outcome::inconclusive);
    CHECK(std::isinf(phase->change_interval.high));
  }
}

TEST_CASE("A program that gives its CPUs away, as sleep does, is judged by all its turns") {
  for (const bool slower : {false, true}) {
    const PairedSpeed speed =
        compare_speed({disturbed_side(1, 1), disturbed_side(slower ? 1 : 0.92, 0)}, quick());
    CHECK(speed.decode.outcome == (slower ? Outcome::regression : Outcome::pass));
    CHECK(speed.dropped_rounds == 0);
    CHECK(speed.rounds == 8);
  }
}

TEST_CASE("A program that sleeps is judged by all its turns, too, where a few seem calm by chance") {
  int64_t processes = 0;
  const StartSide sleeps = [&](int threads) {
    const int64_t number = ++processes;
    return disturbed_side(number == 3 ? 0.5 : 1, number == 3)(threads);
  };
  const PairedSpeed speed = compare_speed({disturbed_side(1, 1), sleeps}, quick());
  CHECK(speed.decode.outcome == Outcome::regression);
  CHECK(speed.rounds == 8);
  CHECK(processes == 9);
  for (const double change : speed.decode.change) CHECK(change > 0);
}

TEST_CASE("Where no turn of any side keeps its CPUs, all count") {
  const PairedSpeed speed = compare_speed({disturbed_side(1, 0), disturbed_side(1.1, 0)}, quick());
  CHECK(speed.dropped_rounds == 0);
  CHECK(speed.decode.outcome == Outcome::regression);
}

TEST_CASE("Where a machine becomes busy, the rounds begin anew with fewer threads") {
  int64_t asked = 0;
  std::vector<int> started;
  const auto side = [&](int threads) {
    started.push_back(threads);
    // Two threads find no two CPUs from the fourth round on.
    const bool calm = threads == 1 || std::ssize(started) <= 9;
    const double seconds = calm ? 1e-3 : 3e-3;
    return [=] { return Turn{seconds, seconds, calm}; };
  };
  const PairedSpeed speed = compare_speed({side, side, [&] { return asked++ ? 1 : 2; }}, quick());
  CHECK(asked == 2);
  CHECK(speed.threads == 1);
  CHECK(std::ranges::count(started, 2) == 12);
  CHECK(std::ranges::count(started, 1) == 3 * speed.rounds);
  CHECK(speed.rounds == 8);
  CHECK(speed.dropped_rounds == 0);
  CHECK(std::ranges::is_sorted(started, std::greater{}));
}

TEST_CASE("A machine too restless to tell is inconclusive") {
  FakeMachine machine(3, 1.5);
  const PairedSpeed speed = compare_speed({machine.side(1), machine.side(1.04)}, quick());
  CHECK(speed.decode.outcome == Outcome::inconclusive);
  CHECK(speed.rounds == 40);
}

TEST_CASE("Where the same program differs from itself, nothing is a regression") {
  PairedPhase phase{.name = "decode"};
  for (int i = 0; i < 12; ++i) {
    phase.change.push_back(0.10 + 0.001 * i);
    phase.control.push_back(0.05 + 0.001 * i);
  }
  judge_phase(phase, {});
  CHECK(phase.outcome == Outcome::inconclusive);
}

TEST_CASE("A process that takes no turns is an error that names it") {
  using Catch::Contains;
  CHECK_THROWS_WITH(start_turns({"/bin/true"}), Contains("/bin/true: ended before it answered"));
  CHECK_THROWS_WITH(start_turns({"/bin/echo", "hello"}), Contains("/bin/echo: a turn"));
  CHECK_THROWS_WITH(start_turns({"/bin/echo", "[1]"}), Contains("does not take turns"));
  CHECK_THROWS_WITH(start_turns({"/bin/echo", "{\"ready\": 1}"}), Contains("ready"));
  CHECK_THROWS_WITH(start_turns({"/bin/sleep", "60"}, 0.05), Contains("no answer"));
  CHECK_THROWS_AS(start_turns({"/no/such/program"}), Error);
  const TakeTurn ends = start_turns({"/bin/sh", "-c", "echo '{\"ready\": true}'"});
  CHECK_THROWS_AS(ends(), Error);
  const TakeTurn lies =
      start_turns({"/bin/sh", "-c", "echo '{\"ready\": true}'; read x; echo '{\"prefill_seconds\": -1}'"});
  CHECK_THROWS_WITH(lies(), Contains("prefill_seconds"));
}
