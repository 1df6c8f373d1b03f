#include "bench/regression/paired_speed.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <span>
#include <thread>

#include "engine/files/interrupts.h"

namespace whittle {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::array<int64_t, 5> looks = {8, 12, 18, 27, 40};
constexpr int64_t least_turns = 4;  // of a side in a round

// The turns of a round, by side.
struct Round {
  std::vector<Turn> before, now, control;
};
struct Side {
  std::vector<Turn> Round::*turns;
  TakeTurn take;
};

// One turn of each side. Each comes after another process has run, and after the same pause.
void run_block(Round& round, std::span<const Side> sides, double pause) {
  for (const Side& side : sides) {
    std::this_thread::sleep_for(std::chrono::duration<double>(pause));
    (round.*side.turns).push_back(side.take());
  }
}

// What a turn takes that nothing disturbs: others only ever make it longer.
double undisturbed(const std::vector<Turn>& turns, double Turn::*phase) {
  constexpr double quick = 0.2;
  std::vector<double> values;
  for (const Turn& turn : turns) values.push_back(turn.*phase);
  return std::log(quantile(values, quick));
}

void add_round(PairedPhase& phase, const Round& round, double Turn::*seconds) {
  const double before = undisturbed(round.before, seconds), control = undisturbed(round.control, seconds);
  phase.change.push_back(undisturbed(round.now, seconds) - (before + control) / 2);
  phase.control.push_back(control - before);
}

}  // namespace

void judge_phase(PairedPhase& phase, const PairedSpeedOptions& options) {
  const double limit = std::log1p(options.max_slowdown);
  phase.change_interval = hodges_lehmann(phase.change, options.confidence);
  phase.control_interval = hodges_lehmann(phase.control, options.confidence);
  const Interval &change = phase.change_interval, &control = phase.control_interval;
  const bool blind = control.low > limit || control.high < -limit;
  if (blind)
    phase.outcome = Outcome::inconclusive;
  else if (change.high < limit)
    phase.outcome = Outcome::pass;
  else if (change.low > limit && change.low > control.high)
    phase.outcome = Outcome::regression;
  else
    phase.outcome = Outcome::inconclusive;
}

PairedSpeed compare_speed(const StartSide& before, const StartSide& now, const PairedSpeedOptions& options,
                          const std::function<void(int64_t done, int64_t total)>& progress) {
  PairedSpeed speed;
  const double round_seconds =
      std::min(options.round_seconds, options.most_seconds / static_cast<double>(looks.front()));
  const auto start = Clock::now();
  const auto elapsed = [](Clock::time_point since) {
    return std::chrono::duration<double>(Clock::now() - since).count();
  };
  for (const int64_t look : looks) {
    for (; speed.rounds < look && (speed.rounds < looks.front() || elapsed(start) < options.most_seconds);
         ++speed.rounds) {
      std::array<Side, 3> sides = {{{&Round::before, {}}, {&Round::now, {}}, {&Round::control, {}}}};
      // Who is started first lies in memory first, and who comes first meets another machine.
      if (speed.rounds % 2 == 1) std::ranges::reverse(sides);
      for (Side& side : sides) side.take = side.turns == &Round::now ? now() : before();
      Round round;
      const auto round_start = Clock::now();
      do {
        check_interrupted();
        run_block(round, sides, options.pause_seconds);
      } while (elapsed(round_start) < round_seconds || std::ssize(round.now) < least_turns);
      speed.turns += 3 * std::ssize(round.now);
      add_round(speed.prefill, round, &Turn::prefill_seconds);
      add_round(speed.decode, round, &Turn::decode_seconds);
      if (progress) progress(speed.rounds + 1, look);
    }
    judge_phase(speed.prefill, options);
    judge_phase(speed.decode, options);
    const bool decided =
        speed.prefill.outcome != Outcome::inconclusive && speed.decode.outcome != Outcome::inconclusive;
    if (decided || speed.rounds < look) break;
  }
  return speed;
}

}  // namespace whittle
