#pragma once
// One model's speed and size as JSON.

#include <nlohmann/json.hpp>
#include <string>

#include "bench/speed.h"

namespace whittle {

// Keys: see bench/reports/schemas/. What is the same at every setting:
nlohmann::json model_json(const SpeedReport& report);
// Medians over the repeats, and under `spread` how they lie:
nlohmann::json setting_json(const SpeedReport& report);
// Both together.
nlohmann::json speed_json(const SpeedReport& report);
// What was watched: `prefill` and `decode` by operation, and `watching`, what that costs; null without.
nlohmann::json profiles_json(const SpeedReport& report);
// "watched, decode takes 1.01 times as long (95 % interval: …; 64 pairs)".
std::string watching_text(const PhaseProfile& phase);
// "prompt of 512 tokens, then 128 steps of 4 sequences together, f16 KV cache"
std::string workload_text(const SpeedOptions& options);

// What the figures hold besides the decoder, where that is not as usual.
std::string timing_text(Timing timing);

// How many times as fast as the baseline a model is, from pairs of repeats, and how many times as large.
struct BaselineRatios {
  double ttft = 0, prefill = 0, decode = 0;  // speed: above 1 is faster
  double disk = 0, weights = 0;              // size: below 1 is smaller
};
BaselineRatios baseline_ratios(const SpeedReport& report, const SpeedReport& baseline);

}  // namespace whittle
