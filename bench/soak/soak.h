#pragma once
// `whittle soak`: a model that answers for minutes or hours, and whether it stays right, small and fast.
//
// A round is every kind of conversation, some of them several times, taken by `sequences` sessions that share
// one decoder and decode together; the next round begins with another kind, so that other conversations stand
// beside each other. What is said does not depend on that: every answer must have the ids and the logits, bit
// for bit, that its kind had first. Memory and latency are taken once a round; a point is the mean of as many
// rounds as there are kinds, so that all points are of the same work. As many rounds warm up before the
// first.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "bench/gate.h"
#include "bench/soak/conversations.h"
#include "bench/soak/series.h"
#include "bench/soak/slope.h"
#include "engine/model.h"
#include "kernels/kv_format.h"

namespace whittle {

struct SoakOptions {
  double minutes = 60;
  int64_t sequences = 4;  // decoded together
  KvFormat kv_cache = KvFormat::f16;
  // The smallest changes from the beginning of the run to its end that matter.
  double max_growth_bytes = 1 << 20;  // of anonymous memory
  double max_slowdown_percent = 5;    // of the time that a token takes
};

// What a run sees of the world; tests give it another.
struct SoakWorld {
  std::filesystem::path root = "/";         // of /sys
  std::function<double()> seconds;          // a clock; unset: the steady one
  std::function<double()> anonymous_bytes;  // unset: this process's
  // Called with every answer before it is judged: a test plants a wrong one.
  std::function<void(int64_t round, const Conversation& conversation, Answer& answer)> tamper;
};

struct ChangedAnswer {
  int64_t round = 0;
  std::string kind;
  std::string what;  // "token 3: 17, first 29", or "the same tokens from other logits"
};

// How a figure changed from the beginning of the run to its end, judged or not.
struct Change {
  double mean = 0;  // of all points; NaN: unknown
  Slope slope;      // per second
  Interval growth;  // slope times the seconds that were seen, in percent of the mean where `relative`
  Verdict verdict = Verdict::undecided;
};

struct SoakReport {
  SoakOptions options;
  int threads = 0;
  double seconds = 0;  // to the end of the last round
  bool interrupted = false;
  int64_t rounds = 0, answers = 0, tokens = 0;  // all of them; tokens: of answers
  int64_t changed_count = 0;
  std::vector<ChangedAnswer> changed;  // the first 100
  std::vector<SoakPoint> points;
  Change memory, decode;      // bytes; percent
  Change clock, temperature;  // MHz, °C: not judged

  // Of answers, memory and latency: exceeded where one is.
  bool passes() const;
};

using SoakProgress = std::function<void(double seconds, double total, const std::string& what)>;

// Runs for so long, or until a signal is held back (engine/files/interrupts.h); at least one round, unless it
// is interrupted. Throws Error for a model that cannot be run.
SoakReport soak(const Model& model, const Tokenizer* tokenizer, const Team& team, const SoakOptions& options,
                const SoakProgress& progress = {}, const SoakWorld& world = {});

// What is said of such points; for tests, and to judge a report again.
void judge(SoakReport& report);

}  // namespace whittle
