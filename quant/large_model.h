#pragma once
// Models so large that short cuts are taken: their own text is drawn from a rounded model (self_text.h), and
// the stream of the unquantized model is not kept beside the other (gptq_options.h).

#include "engine/inventory.h"

namespace whittle {

inline bool is_large(const Inventory& inventory) {
  constexpr int64_t most = int64_t{1} << 29;  // weights
  int64_t weights = 0;
  for (const Module& module : inventory.modules())
    if (module.matrix()) weights += module.rows * module.cols;
  return weights > most;
}

}  // namespace whittle
