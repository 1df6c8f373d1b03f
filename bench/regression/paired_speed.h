#pragma once
// Two programs or models in turns: is one of them slower, and how sure is that?
//
// A round starts fresh processes, two of the side before and one of the side now: where a process lies in
// memory changes its speed by some percent for as long as it lives, so that processes, not turns, are what a
// sample is made of. Turns go round: before, now, control, and in every other round backwards. So each comes
// after another process's, whose traces in caches and in the scheduler all meet alike. Of a side's turns in a
// round, a low quantile counts: other programs only ever make a turn longer. Where other programs work
// beside, only turns count during which threads kept their CPUs, unless the side now alone hardly ever does:
// then it sleeps by itself. The side before stands for itself and its control, whose own ratio to it says how
// well this machine can tell at all.

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "bench/regression/check.h"
#include "bench/regression/turns.h"
#include "bench/statistics.h"

namespace whittle {

// Starts a process of one side.
using StartSide = std::function<TakeTurn(int threads)>;

struct PairedSides {
  StartSide before, now;
  // How many threads there are CPUs for: asked at the start, and after a round in which a side had no calm
  // turn. Where there are fewer than before, the rounds begin anew: all that count have as many threads.
  std::function<int()> free_threads = [] { return 1; };
};

struct PairedSpeedOptions {
  double max_slowdown = 0.03;    // the smallest effect that matters: 0.03 is 3 % more time
  double most_seconds = 120;     // of all rounds together, after which it stays inconclusive
  double round_seconds = 1;      // of turns in a round, about
  double confidence = 0.99;      // of the intervals; there are several looks at them
  double pause_seconds = 0.015;  // between turns: a thread without work spins for some milliseconds
};

inline constexpr Interval unbounded = {0, -std::numeric_limits<double>::infinity(),
                                       std::numeric_limits<double>::infinity()};

// Natural logarithms of times: 0.03 is 3 % slower. One value a round.
struct PairedPhase {
  std::string name;                     // "prefill" or "decode"
  std::vector<double> change, control;  // now over before, and the control over before
  Interval change_interval = unbounded, control_interval = unbounded;
  Outcome outcome = Outcome::inconclusive;
};

struct PairedSpeed {
  PairedPhase prefill{.name = "prefill"}, decode{.name = "decode"};
  int64_t rounds = 0, turns = 0;  // that count
  int threads = 0;                // of a process
  int64_t dropped_rounds = 0;     // in which one side had calm turns, and another none
};

// What the rounds so far say. pass: the whole interval is below max_slowdown. regression: all of it lies
// above, and above the control's too. Else, or where the control differs from itself by as much as matters,
// inconclusive.
void judge_phase(PairedPhase& phase, const PairedSpeedOptions& options);

// Rounds until both phases are decided, at looks after 8, 12, 18, 27 and 40 rounds, or time is up. progress:
// rounds done, of those until the next look. Throws Error where a process fails.
PairedSpeed compare_speed(const PairedSides& sides, const PairedSpeedOptions& options,
                          const std::function<void(int64_t done, int64_t total)>& progress = {});

}  // namespace whittle
