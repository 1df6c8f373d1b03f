#pragma once
// What a run of `whittle quantize` did, for people and for programs.

#include <nlohmann/json.hpp>
#include <string>

#include "quant/pipeline.h"

namespace whittle {

// Keys: modules, bits_per_weight, relative_error, source_bytes, written_bytes, held_out (null without any:
// mean KL and perplexities against the original, over tokens that no method saw), stages (seconds each),
// output_errors (relative, worst first; of methods that look at outputs).
nlohmann::json quantization_json(const QuantizationReport& report);
std::string quantization_text(const QuantizationReport& report);

}  // namespace whittle
