#pragma once
// One model's speed and size as JSON.

#include <nlohmann/json.hpp>
#include <string>

#include "bench/speed.h"

namespace whittle {

// Medians over the repeats, and under `spread` how they lie. Keys: see bench/reports/README.md.
nlohmann::json speed_json(const SpeedReport& report);
// "prompt of 512 tokens, then 128 steps of 4 sequences together, f16 KV cache"
std::string workload_text(const SpeedOptions& options);

// How many times as fast as the baseline a model is, from pairs of repeats, and how many times as large.
struct BaselineRatios {
  double ttft = 0, prefill = 0, decode = 0;  // speed: above 1 is faster
  double disk = 0, weights = 0;              // size: below 1 is smaller
};
BaselineRatios baseline_ratios(const SpeedReport& report, const SpeedReport& baseline);

}  // namespace whittle
