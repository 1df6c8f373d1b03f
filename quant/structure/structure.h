#pragma once
// What of a model is kept where whole parts of it are left out: neurons of MLPs, groups of heads, attention
// or MLP of a layer, layers. What remains is dense, and smaller.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <vector>

#include "engine/model_spec.h"
#include "engine/weight_source.h"

namespace whittle {

// What each layer keeps, as numbers of its parts; a layer of which nothing is kept is none any more, and
// later ones move up.
using Shapes = std::vector<LayerShape>;

Shapes shapes_of(const ModelSpec& spec);
// Throws Error unless there is one for each layer, none larger than the model's, and one layer at least keeps
// something; and where heads go whose place ALiBi's slopes say.
void check_kept(const ModelSpec& spec, const Shapes& kept);

// The smaller model's config.json. In the family's own fields where they can say it: layers that are alike.
// Else in layer_shapes_field (engine/model_spec.h), which no other program reads.
nlohmann::json pruned_config(const FolderWeights& source, const Shapes& kept);

// Weights of the linears, biases not counted.
int64_t attention_weights(const ModelSpec& spec, int64_t kv_heads);
int64_t mlp_weights(const ModelSpec& spec, int64_t neurons);
int64_t layer_weights(const ModelSpec& spec, const Shapes& shapes);

}  // namespace whittle
