#pragma once
// The peak memory of a process that does nothing but generate with one model.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "bench/speed.h"

namespace whittle {

// What the child does: loads model and tokenizer, runs the prompt, fills the rest of the context, decodes a
// token, and writes {"peak_rss_bytes": …} to standard output. Throws Error.
void report_own_peak_memory(const std::filesystem::path& folder, const Team& team,
                            const SpeedOptions& options);

// Runs `child`, a command line that ends in the above. Throws Error when it fails or says nothing of its
// peak.
int64_t measure_peak_memory(const std::vector<std::string>& child);

}  // namespace whittle
