#pragma once
// What a run of `whittle prune` did, for people and for programs.

#include <nlohmann/json.hpp>
#include <string>

#include "bench/fingerprint.h"
#include "quant/structure/prune.h"

namespace whittle {

// Keys: recipe, source_bytes, written_bytes, weights_before, weights, kv_bytes_per_token_before,
// kv_bytes_per_token, held_out (as in quantization_json), layers (of each: neurons_before, neurons,
// kv_heads_before, kv_heads), fitted (module, error_before, error: of the stream behind it), stages (seconds
// each), only_whittle_reads.
nlohmann::json prune_json(const PruneReport& report, const Fingerprint& fingerprint);
std::string prune_text(const PruneReport& report);

}  // namespace whittle
