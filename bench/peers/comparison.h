#pragma once
// Whittle and peers in pairs of runs, with the machine's limits probed around each run. Shared
// machines change their speed by a factor of two within seconds: a ratio counts only of two runs that met the
// same machine.

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bench/peers/peer.h"
#include "bench/speed.h"
#include "kernels/threads.h"

namespace whittle {

// The same weights for both sides.
struct ComparedModel {
  std::filesystem::path folder, peer_model;  // what the peer reads: a GGUF file, a folder
};

struct ComparisonOptions {
  std::vector<Peer> peers;
  std::vector<ComparedModel> models;
  SpeedOptions speed{.gen_tokens = 64, .repeat = 1};  // one repeat: pairs are repeated here
  int64_t pairs = 7;                                  // to keep; each may be tried three times on average
  double tolerance = 1.15;       // of a probe's largest reading over its smallest, within a pair
  double timeout_seconds = 900;  // of a peer's run
};

struct ProbeReading {
  double read_gb_per_s = 0, int8_gops = 0;
};
using Probe = std::function<ProbeReading()>;

// The machine stayed what it was: the largest reading of either kind is at most tolerance × the smallest.
bool steady(std::span<const ProbeReading> readings, double tolerance);

// Tokens a second of a prompt, or of the steps after it.
struct PhasePair {
  double ours = 0, ours_of_limit = 0;  // the latter of the probe beside our run
  std::optional<double> peer;          // unset where the peer's figure is not the same measure
};

struct Pair {
  bool ours_first = true;
  std::array<ProbeReading, 3> probes;  // before, between and after the two runs
  PhasePair prefill, decode;
};

// A model with a peer.
struct ComparisonCell {
  std::string model;  // the folder's name
  std::filesystem::path peer_model;
  std::string peer;
  std::vector<Pair> kept;
  int64_t dropped = 0;
};

struct Comparison {
  ComparisonOptions options;
  int threads = 0;
  std::vector<ComparisonCell> cells;  // model by model, each with every peer
};

// After each pair; `kept` says whether it counts.
using ComparisonProgress = std::function<void(const ComparisonCell& cell, const Pair& pair, bool kept)>;

// Every cell's first pair, then every cell's second: a cell's pairs are spread over the time, and who runs
// first in them alternates. A pair whose probes were not steady is tried again. Throws Error for a model or a
// peer that does not run, and before anything is measured for what the options alone make impossible.
Comparison compare_peers(const ComparisonOptions& options, const Team& team, const Probe& probe,
                         const ComparisonProgress& progress);

}  // namespace whittle
