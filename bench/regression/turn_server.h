#pragma once
// The process that takes turns: it holds a model and runs one prompt and some steps whenever it is asked to.

#include <cstdint>
#include <filesystem>

#include "kernels/kv_format.h"
#include "kernels/threads.h"

namespace whittle {

struct TurnOptions {
  int64_t prompt_tokens = 128, gen_tokens = 32;  // each at least 1
  KvFormat kv_cache = KvFormat::f16;
};

// Loads the model, warms up, writes a line {"ready": true}, and then for each line that it reads writes
// {"prefill_seconds": …, "decode_seconds": …, "calm": …}, a Turn (turns.h); the end of its input ends it.
// Throws Error.
void serve_turns(const std::filesystem::path& folder, const Team& team, const TurnOptions& options);

}  // namespace whittle
