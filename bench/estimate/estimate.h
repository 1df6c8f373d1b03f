#pragma once
// `whittle estimate`: whether a model fits into this machine's memory, and how fast it would run, before
// there is one.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "bench/estimate/memory_need.h"
#include "bench/estimate/speed_estimate.h"
#include "bench/estimate/stored_model.h"
#include "bench/machine.h"

namespace whittle {

// The model as one choice stores it.
struct FormatEstimate {
  std::string name;        // of the choice
  int64_t file_bytes = 0;  // of all tensors
  MemoryNeed memory;
  int64_t missing_bytes = 0;           // of the memory that is available; 0: it fits
  std::optional<SpeedEstimate> speed;  // unset: not asked for, or no room for a miniature
};

struct EstimateReport {
  std::string model;       // as the user calls it
  int64_t parameters = 0;  // numbers that the original's tensors hold
  PlannedWorkload workload;
  Machine machine;
  std::vector<FormatEstimate> formats;
};

struct EstimateOptions {
  PlannedWorkload workload;  // threads: those of the team
  bool speed = true;
  TrialOptions trial;
  int64_t process_bytes = 0;  // of a program with tokenizer, before it loads a model
};

// `machine`: whose available memory counts. Throws Error where the context is longer than learned positions,
// or sizes are more than numbers can count.
EstimateReport estimate(const std::string& name, const ModelSpec& spec,
                        const std::vector<StorageChoice>& choices, const EstimateOptions& options,
                        const Machine& machine, const Team& team,
                        const std::function<void(int64_t, int64_t, const std::string&)>& progress = {});

}  // namespace whittle
