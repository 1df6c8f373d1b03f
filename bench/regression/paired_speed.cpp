#include "bench/regression/paired_speed.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <span>
#include <thread>

#include "engine/clock.h"
#include "engine/files/interrupts.h"

namespace whittle {
namespace {

constexpr std::array<int64_t, 5> looks = {8, 12, 18, 27, 40};
constexpr int64_t least_turns = 4;  // of a side in a round
constexpr double patience = 4;      // times a round's time, for so many calm ones

int64_t calm_turns(const std::vector<Turn>& turns) { return std::ranges::count(turns, true, &Turn::calm); }

// The turns of a round, by side: each has as many.
struct Round {
  std::vector<Turn> before, now, control;

  int64_t least_calm() const { return std::min({calm_turns(before), calm_turns(now), calm_turns(control)}); }
  bool others_are_calm() const { return calm_turns(before) > 0 && calm_turns(control) > 0; }
  // Leaves the calm turns, if each side has some. False where only some sides have: the others' are no match.
  bool keep_calm() {
    if (calm_turns(before) + calm_turns(now) + calm_turns(control) == 0) return true;
    if (least_calm() == 0) return false;
    for (std::vector<Turn>* turns : {&before, &now, &control})
      std::erase_if(*turns, [](const Turn& turn) { return !turn.calm; });
    return true;
  }
};
struct Side {
  std::vector<Turn> Round::*turns;
  TakeTurn take;
};

// A round of fresh processes. Each turn comes after another process has run, and after the same pause.
Round run_round(const PairedSides& from, int threads, bool backwards, double seconds, double pause_seconds,
                bool wait_for_calm) {
  std::array<Side, 3> sides = {{{&Round::before, {}}, {&Round::now, {}}, {&Round::control, {}}}};
  // Who is started first lies in memory first, and who comes first meets another machine.
  if (backwards) std::ranges::reverse(sides);
  for (Side& side : sides) side.take = side.turns == &Round::now ? from.now(threads) : from.before(threads);
  Round round;
  const auto start = Clock::now();
  do {
    check_interrupted();
    for (const Side& side : sides) {
      std::this_thread::sleep_for(std::chrono::duration<double>(pause_seconds));
      (round.*side.turns).push_back(side.take());
    }
  } while (seconds_since(start) < seconds || std::ssize(round.now) < least_turns ||
           (wait_for_calm && round.least_calm() < least_turns && seconds_since(start) < patience * seconds));
  return round;
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
  if (phase.change.empty()) return;
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

PairedSpeed compare_speed(const PairedSides& sides, const PairedSpeedOptions& options,
                          const std::function<void(int64_t done, int64_t total)>& progress) {
  const auto free_threads = [&] { return std::max(1, sides.free_threads()); };
  PairedSpeed speed{.threads = free_threads()};
  const double round_seconds =
      std::min(options.round_seconds, options.most_seconds / static_cast<double>(looks.front()));
  const auto count = [&](const Round& round) {
    ++speed.rounds;
    for (const std::vector<Turn>* turns : {&round.before, &round.now, &round.control})
      speed.turns += std::ssize(*turns);
    add_round(speed.prefill, round, &Turn::prefill_seconds);
    add_round(speed.decode, round, &Turn::decode_seconds);
  };
  // A side that sleeps hardly ever keeps its CPUs, whatever others do: where that is so in nearly all rounds
  // in which the other sides keep theirs, it is the program, and all turns count.
  std::vector<Round> restless;
  int64_t others_calm = 0;  // rounds
  bool by_itself = false;
  const auto sleeps = [&] {
    constexpr double nearly_all = 0.75;
    return std::ssize(restless) >= looks.front() &&
           static_cast<double>(restless.size()) >= nearly_all * static_cast<double>(others_calm);
  };
  const auto start = Clock::now();
  for (const int64_t look : looks) {
    // Time is up only after as many rounds as the first look takes, whether they count or not.
    while (speed.rounds < look && (speed.rounds + speed.dropped_rounds < looks.front() ||
                                   seconds_since(start) < options.most_seconds)) {
      const bool backwards = (speed.rounds + speed.dropped_rounds) % 2 == 1;
      Round round =
          run_round(sides, speed.threads, backwards, round_seconds, options.pause_seconds, !by_itself);
      if (!by_itself && speed.threads > 1 && round.least_calm() == 0) {
        // The machine may have become busy.
        if (const int threads = free_threads(); threads < speed.threads) {
          speed = {.threads = threads};
          restless.clear();
          others_calm = 0;
          continue;
        }
      }
      others_calm += round.others_are_calm();
      if (by_itself || round.keep_calm()) {
        count(round);
      } else {
        ++speed.dropped_rounds;
        if (round.others_are_calm()) restless.push_back(std::move(round));
        by_itself = sleeps();
        if (!by_itself) continue;
        speed = {.threads = speed.threads};
        std::ranges::for_each(restless, count);
      }
      if (progress) progress(speed.rounds, look);
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
