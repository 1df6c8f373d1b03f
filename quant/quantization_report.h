#pragma once
// What a run of `whittle quantize` did, for people and for programs.

#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "bench/fingerprint.h"
#include "quant/pipeline.h"

namespace whittle {

// Keys: modules, bits_per_weight, relative_error, source_bytes, written_bytes, held_out (null without any:
// mean KL and perplexities against the original, over tokens that no method saw), stages (seconds each),
// output_errors (relative, worst first; of methods that look at outputs).
nlohmann::json quantization_json(const QuantizationReport& report, const Fingerprint& fingerprint);
std::string quantization_text(const QuantizationReport& report);

// What held-out text says of any model: mean KL and perplexities against the original.
nlohmann::json held_out_json(const DriftReport& drift);
std::string held_out_text(const DriftReport& drift);

// A list of points: target_bits, bits_per_weight, predicted_kl, tuning_tokens, held_out.
nlohmann::json frontier_json(std::span<const FrontierPoint> points, const Fingerprint& fingerprint);
std::string frontier_text(std::span<const FrontierPoint> points);

}  // namespace whittle
