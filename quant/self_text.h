#pragma once
// Text that a model writes itself: data for calibration where none is given.

#include <cstdint>
#include <functional>
#include <string>

#include "bench/windows.h"
#include "engine/weight_source.h"
#include "kernels/threads.h"

namespace whittle {

struct SelfText {
  Windows windows;
  std::string rounded_to;  // " rounded to int8", where the model was too large to be run as it is
};

// So many windows that they have `tokens` together, of `context` ids each, or as many as the model has
// positions. `memory`: bytes that the model may take; a large one is rounded anyway, as it then writes in
// half the time or less. The same for the same arguments, whatever the threads.
SelfText self_text(const WeightSource& source, int64_t memory, const Team& team, int64_t tokens,
                   int64_t context, uint64_t seed,
                   const std::function<void(int64_t done, int64_t total)>& progress);

}  // namespace whittle
