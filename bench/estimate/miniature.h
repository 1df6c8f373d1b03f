#pragma once
// A small part of a model that runs like all of it: fewer layers, narrower ones where one alone is large, and
// as much less of the vocabulary.

#include <cstdint>

#include "engine/model_spec.h"

namespace whittle {

// About `share` (above 0, at most 1) of the work of a step. Layers keep what each operation does there: the
// width of the residual stream, heads of the same size, and the same parts of attention, MLP and head. Where
// layers differ, some of each kind are taken. 1: the spec itself.
ModelSpec miniature_of(const ModelSpec& spec, double share);

}  // namespace whittle
