#pragma once
// How fast a model would run here: what its step must read and compute, over what this machine reads and
// computes, times the part of that which the real kernels reach on a miniature of the model.
//
// The roofline (Williams, Waterman and Patterson, 2009) gives the limit; the part that is reached is measured
// now, with probes beside it, and never taken from another machine.

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "bench/estimate/memory_need.h"
#include "bench/estimate/stored_model.h"
#include "bench/probe.h"
#include "kernels/threads.h"

namespace whittle {

// Of one model, a value a round.
struct SpeedEstimate {
  bool int8 = false;              // the linears multiply int8: their operations count, else those of floats
  double miniature_share = 1;     // of the bytes that a decode step reads
  double decode_bytes = 0;        // of a step of all sequences, in the middle of what is generated
  double prefill_operations = 0;  // of a prompt
  std::vector<double> decode_tokens_per_s, prefill_tokens_per_s;  // of the whole model; decode: all sequences
  std::vector<double> decode_fraction, prefill_fraction;          // of the probe beside it
  std::vector<double> read_gb_per_s, arithmetic_gops;             // these probes

  // The median of the fractions, of the median of the probes: the estimate.
  double decode_estimate(const PlannedWorkload& workload) const;
  double prefill_estimate(const PlannedWorkload& workload) const;
};

// How long to measure.
struct TrialOptions {
  int rounds = 5;             // at least 1, after a warm-up
  double step_seconds = 0.1;  // of decoding, each round
  int64_t target_bytes = 0;   // that a miniature's step reads; 0: eight times the last-level cache
  int64_t probe_bytes = 0;    // of the probes' buffer; 0: as ProbeBuffer takes them
};

// Models take turns, round by round, as in bench/speed.h; unset where not even a miniature fits into half of
// `memory_bytes`, and 8 GiB, with those before it. Throws Error where the context is longer than learned
// positions.
std::vector<std::optional<SpeedEstimate>> estimate_speed(
    const std::vector<StoredModel>& models, const PlannedWorkload& workload, const Team& team,
    const TrialOptions& options, int64_t memory_bytes,
    const std::function<void(int64_t done, int64_t total, const std::string& name)>& progress = {});

}  // namespace whittle
