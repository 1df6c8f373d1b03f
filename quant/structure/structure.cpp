#include "quant/structure/structure.h"

#include <algorithm>

#include "engine/architectures.h"
#include "engine/files/json_file.h"
#include "kernels/error.h"

namespace whittle {
namespace {

// Sizes that a family's own code reads from its config: a fused projection knows nothing of heads that are
// fewer or wider than the stream, and BLOOM's MLP is four times as wide as that whatever config.json says.
bool reads_heads(const ModelSpec& spec) { return spec.qkv_layout == QkvLayout::separate; }
bool reads_width(const Architecture& architecture) {
  return architecture.defaults.intermediate_factor == 0 ||
         std::ranges::find(architecture.family.aliases, "intermediate_size", &FieldAlias::first) !=
             architecture.family.aliases.end();
}

int64_t largest(const Shapes& shapes, int64_t LayerShape::*size) {
  return std::ranges::max(shapes, {}, size).*size;
}

}  // namespace

Shapes shapes_of(const ModelSpec& spec) {
  Shapes shapes;
  for (int64_t i = 0; i < spec.num_hidden_layers; ++i) shapes.push_back(spec.layer(i));
  return shapes;
}

void check_kept(const ModelSpec& spec, const Shapes& kept) {
  if (std::ssize(kept) != spec.num_hidden_layers)
    fail("{} layers to prune: the model has {}", kept.size(), spec.num_hidden_layers);
  for (size_t i = 0; i < kept.size(); ++i) {
    const LayerShape all = spec.layer(static_cast<int64_t>(i));
    const auto check = [&](int64_t count, int64_t most, const char* what) {
      if (count < 0 || count > most) fail("layer {}: {} {}: expected 0 to {}", i, count, what, most);
    };
    check(kept[i].intermediate_size, all.intermediate_size, "neurons");
    check(kept[i].num_key_value_heads, all.num_key_value_heads, "key/value heads");
    if (spec.positions == Positions::alibi && kept[i].num_key_value_heads % spec.num_key_value_heads != 0)
      fail("{} cannot lose some heads of a layer: ALiBi's slopes are those of all", spec.model_type);
  }
  if (std::ranges::count(kept, LayerShape{}) == std::ssize(kept)) fail("nothing is left of the layers");
}

nlohmann::json pruned_config(const FolderWeights& source, const Shapes& kept) {
  const ModelSpec& spec = source.spec();
  check_kept(spec, kept);
  const Architecture& architecture = find_architecture(spec.model_type);
  nlohmann::json config = source.file().config();
  const JsonFields fields(source.file().config(), "config.json");
  const FieldNames aliases = alias_names(fields, architecture);
  const auto set = [&](const char* field, int64_t value) {
    const auto alias = aliases.find(field);
    if (alias == aliases.end()) config[field] = value;
    for (const auto& [common, theirs] : architecture.family.aliases)
      if (common == field && (alias != aliases.end() || fields.has(std::string(theirs).c_str())))
        config[std::string(theirs)] = value;
  };

  Shapes layers;
  nlohmann::json types = nlohmann::json::array();
  int64_t full_layers = 0;
  for (size_t i = 0; i < kept.size(); ++i) {
    if (kept[i] == LayerShape{}) continue;
    layers.push_back(kept[i]);
    full_layers += static_cast<int64_t>(i) < spec.max_window_layers;
    if (fields.has("layer_types")) types.push_back(config.at("layer_types").at(i));
  }
  if (std::ssize(layers) != spec.num_hidden_layers) {
    set("num_hidden_layers", std::ssize(layers));
    if (fields.has("layer_types")) config["layer_types"] = types;
    if (spec.sliding_window && spec.max_window_layers) config["max_window_layers"] = full_layers;
  }

  int64_t kv_heads = spec.num_key_value_heads, neurons = spec.intermediate_size;
  if (const int64_t most = largest(layers, &LayerShape::num_key_value_heads);
      most && most != kv_heads && reads_heads(spec)) {
    kv_heads = most;
    set("num_key_value_heads", kv_heads);
    set("num_attention_heads", kv_heads * spec.query_group());
    config["head_dim"] = spec.head_dim;
  }
  if (const int64_t most = largest(layers, &LayerShape::intermediate_size);
      most && most != neurons && reads_width(architecture)) {
    neurons = most;
    set("intermediate_size", neurons);
  }
  config.erase(layer_shapes_field);
  if (std::ranges::count(layers, LayerShape{neurons, kv_heads}) == std::ssize(layers)) return config;
  for (const LayerShape& layer : layers)
    config[layer_shapes_field].push_back(
        {{"intermediate_size", layer.intermediate_size}, {"num_key_value_heads", layer.num_key_value_heads}});
  return config;
}

int64_t attention_weights(const ModelSpec& spec, int64_t kv_heads) {
  return 2 * (1 + spec.query_group()) * kv_heads * spec.head_dim * spec.hidden_size;
}

int64_t mlp_weights(const ModelSpec& spec, int64_t neurons) {
  return (spec.gated_mlp ? 3 : 2) * neurons * spec.hidden_size;
}

int64_t layer_weights(const ModelSpec& spec, const Shapes& shapes) {
  int64_t sum = 0;
  for (const LayerShape& layer : shapes)
    sum += attention_weights(spec, layer.num_key_value_heads) + mlp_weights(spec, layer.intermediate_size);
  return sum;
}

}  // namespace whittle
