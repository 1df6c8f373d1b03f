#pragma once
// Layer by layer, what is planned becomes weights: which neurons and heads stay is decided by what the layer
// reads in the model as it has become, and what stays is fitted so that the stream comes back to the
// original's, which a second stream of the same text tells.

#include <string>
#include <vector>

#include "quant/method.h"
#include "quant/structure/pruned_weights.h"
#include "quant/token_stream.h"

namespace whittle {

struct RestorationOptions {
  bool fitted = true;                 // else what stays is as it was
  int64_t memory = int64_t{4} << 30;  // as of RunOptions
  std::filesystem::path spill;        // where streams lie that are too large
  // Of each half of a layer, attention first, whether it stays as it was; empty: none.
  std::vector<bool> fixed;
};

// Of one linear that was fitted: √(Σ|e|² / Σ|x|²) of the judged tokens, e what the stream behind it lacked.
struct FittedLinear {
  std::string module;  // of the smaller model
  double before = 0, after = 0;
};

struct RestoredModel {
  PrunedWeights weights;
  std::vector<FittedLinear> fitted;
};

// Windows: the last eighth of them judges. Throws Error as PrunedWeights.
RestoredModel restore(const FolderWeights& source, const Shapes& shapes,
                      const std::vector<std::vector<int32_t>>& windows, const RestorationOptions& options,
                      const Team& team, const StageProgress& progress);

// Groups of inputs of o (a key/value head's) or down (neurons) that are eliminated before the others are
// priced anew.
int64_t groups_at_once(int64_t groups);

}  // namespace whittle
