#pragma once
// Speed in small pieces, for comparing two programs or models: a process that holds a model and runs one
// prompt and some steps whenever it is asked to, so that two of them can take turns within milliseconds.

#include <cstdint>
#include <filesystem>
#include <functional>

#include "kernels/kv_format.h"
#include "kernels/threads.h"

namespace whittle {

struct TurnOptions {
  int64_t prompt_tokens = 128, gen_tokens = 32;  // each at least 1
  KvFormat kv_cache = KvFormat::f16;
};

// What a turn's prompt took, and a step after it: of several, a quick one, since other programs only ever
// make them longer. calm: of both there were enough during which no thread lost its CPU, and only those
// count.
struct Turn {
  double prefill_seconds = 0, decode_seconds = 0;
  bool calm = true;
};

// The process that takes turns: loads the model, warms up, writes a line {"ready": true}, and then for each
// line that it reads writes {"prefill_seconds": …, "decode_seconds": …, "calm": …}; the end of its input ends
// it. Throws Error.
void serve_turns(const std::filesystem::path& folder, const Team& team, const TurnOptions& options);

using TakeTurn = std::function<Turn()>;

// Starts such a process, waits until it is ready, and returns what asks it for a turn; the process ends when
// the last copy of that is gone. `command` ends in serve_turns(). Throws Error, and so does a turn, when the
// process ends or says something else; `patience_seconds` is how long it may be silent.
TakeTurn start_turns(const std::vector<std::string>& command, double patience_seconds = 600);

}  // namespace whittle
