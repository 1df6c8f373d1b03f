#pragma once
// Which halves of layers a model misses least: dropped one after the other, greedily, by what is measured.
// (Cosine similarity of what goes in and comes out is a poorer guide: SLEB, arXiv 2402.09025.)

#include <functional>
#include <set>

#include "quant/structure/measured_model.h"
#include "quant/structure/measurements.h"
#include "quant/structure/structure.h"

namespace whittle {

// One state of the search, from all that there is on.
struct DroppedHalves {
  std::set<int64_t> halves;  // as MeasuredModel numbers them
  double kl = 0;             // measured, with nothing made good
  int64_t weights = 0;       // that are gone
};

struct BlockSearchOptions {
  bool whole_layers = false;  // nothing but both halves of a layer at once
  // Halves that must stay.
  std::function<bool(int64_t half)> fixed;
  Measurements& known;  // of this model and text
};

// In each step attention, the MLP, or both of a layer goes: what brings the least KL for its weights. The
// states after each step, while `more(state)`, and as long as something else stays in the model.
std::vector<DroppedHalves> drop_greedily(MeasuredModel& model, const ModelSpec& spec,
                                         const BlockSearchOptions& options,
                                         const std::function<bool(const DroppedHalves&)>& more,
                                         const StageProgress& progress);

// At least so many weights gone: the greedy search until then, of which the last step is whatever reaches it
// with the least KL; then what can come back comes back.
DroppedHalves drop_weights(MeasuredModel& model, const ModelSpec& spec, const BlockSearchOptions& options,
                           int64_t weights, const StageProgress& progress);

// What is left.
Shapes without(const Shapes& shapes, const std::set<int64_t>& halves);

}  // namespace whittle
