#pragma once
// Speed in small pieces, for comparing two programs or models: processes that each hold a model and run one
// prompt and some steps whenever they are asked to (turn_server.h) take turns within milliseconds.

#include <functional>
#include <string>
#include <vector>

namespace whittle {

// What a turn's prompt took, and a step after it: of several, a quick one, since other programs only ever
// make them longer. calm: of both there were enough during which no thread lost its CPU, and only those
// count.
struct Turn {
  double prefill_seconds = 0, decode_seconds = 0;
  bool calm = true;
};

using TakeTurn = std::function<Turn()>;

// Starts such a process, waits until it is ready, and returns what asks it for a turn; the process ends when
// the last copy of that is gone. `command` calls serve_turns(). Throws Error, and so does a turn, when the
// process ends or says something else; `patience_seconds` is how long it may be silent.
TakeTurn start_turns(const std::vector<std::string>& command, double patience_seconds = 600);

}  // namespace whittle
