#include "quant/gguf/model.h"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <string_view>

#include "engine/positions.h"
#include "kernels/error.h"

namespace whittle {

namespace {

// What llama.cpp makes of an architecture.
struct Dialect {
  std::string_view model_type, name;
  bool adjacent_pairs;    // RoPE turns values 2i and 2i + 1, and not i and i + head_dim / 2
  bool any_head_size;     // heads × head_dim may differ from hidden_size
  bool optional_tensors;  // biases of o_proj and the MLP, and rope_freqs
};
constexpr Dialect dialects[] = {
    {"llama", "llama", true, true, true},    {"mistral", "llama", true, true, true},
    {"qwen2", "qwen2", false, false, false}, {"qwen3", "qwen3", false, true, false},
    {"gpt2", "gpt2", false, false, true},    {"bloom", "bloom", false, false, true},
};

// llama.cpp's names of modules; those of a layer stand behind "blk.N.".
constexpr std::pair<Role, std::string_view> names[] = {
    {Role::embedding, "token_embd"},
    {Role::position_embedding, "position_embd"},
    {Role::embedding_norm, "token_embd_norm"},
    {Role::attention_norm, "attn_norm"},
    {Role::q, "attn_q"},
    {Role::k, "attn_k"},
    {Role::v, "attn_v"},
    {Role::qkv, "attn_qkv"},
    {Role::q_norm, "attn_q_norm"},
    {Role::k_norm, "attn_k_norm"},
    {Role::o, "attn_output"},
    {Role::mlp_norm, "ffn_norm"},
    {Role::gate, "ffn_gate"},
    {Role::up, "ffn_up"},
    {Role::down, "ffn_down"},
    {Role::final_norm, "output_norm"},
    {Role::head, "output"},
};

// Layers that differ, as llama.cpp has them: a block of Llama's kind with sizes layer by layer. It takes the
// size of heads from the first layer, and what it makes of one without an MLP leaves its attention out.
constexpr std::string_view differing_layers = "deci";

bool has_differing_layers(const ModelSpec& spec, const Dialect& dialect) {
  return dialect.name == "llama" && !spec.qkv_bias && !spec.attention_output_bias && !spec.mlp_bias &&
         spec.layer(0).num_key_value_heads > 0 &&
         std::ranges::none_of(spec.layers,
                              [](const LayerShape& layer) { return layer.intermediate_size == 0; });
}

// Refuses what a reader would leave out in silence.
const Dialect& dialect_of(const FolderWeights& source) {
  const ModelSpec& spec = source.spec();
  const auto found = std::ranges::find(dialects, spec.model_type, &Dialect::model_type);
  const auto reject = [&](const std::string& what) {
    fail("{}: GGUF has no place for {} of model_type \"{}\"",
         (source.file().folder() / "config.json").string(), what, spec.model_type);
  };
  if (found == std::end(dialects)) reject("the tensors");
  if (!spec.layers.empty() && !has_differing_layers(spec, *found))
    reject("layers that differ so in what they have,");
  if (!found->any_head_size && spec.q_size() != spec.hidden_size)
    reject("heads that differ from hidden_size");
  if (!found->optional_tensors) {
    if (spec.attention_output_bias || spec.mlp_bias) reject("the biases of o_proj or the MLP");
    if (spec.rope_scaling.type == RopeScalingType::llama3) reject("rope_type \"llama3\"");
  }
  return *found;
}

// Factors by which Llama 3's rule divides the frequencies.
std::vector<float> frequency_factors(const ModelSpec& spec) {
  ModelSpec plain = spec;
  plain.rope_scaling = {};
  const Rope scaled_rope(spec), plain_rope(plain);
  std::vector<float> factors;
  std::ranges::transform(plain_rope.inverse_frequencies(), scaled_rope.inverse_frequencies(),
                         std::back_inserter(factors),
                         [](float original, float scaled) { return original / scaled; });
  return factors;
}

// The two halves of each head's rows become neighbours.
std::vector<int64_t> adjacent_pairs(int64_t rows, int64_t head_dim) {
  std::vector<int64_t> order(static_cast<size_t>(rows));
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t within = row % head_dim;
    order[static_cast<size_t>(row)] = row - within + within / 2 + within % 2 * (head_dim / 2);
  }
  return order;
}

// Where the rows of a module come from; empty: they stay where they are.
std::vector<int64_t> row_order(const Module& module, const ModelSpec& spec, const Dialect& dialect) {
  if (dialect.adjacent_pairs && (module.role == Role::q || module.role == Role::k))
    return adjacent_pairs(module.rows, spec.head_dim);
  std::vector<int64_t> order;
  if (module.role == Role::qkv && spec.qkv_layout == QkvLayout::by_head)
    for (const Role part : {Role::q, Role::k, Role::v})
      std::ranges::copy(fused_rows(spec, module.layer, part), std::back_inserter(order));
  return order;
}

std::string target_name(const Module& module) {
  const std::string_view name =
      std::ranges::find(names, module.role, &std::pair<Role, std::string_view>::first)->second;
  return module.layer < 0 ? std::string(name) : fmt::format("blk.{}.{}", module.layer, name);
}

}  // namespace

GgufMetadata model_metadata(const FolderWeights& source) {
  const ModelSpec& spec = source.spec();
  const Dialect& dialect = dialect_of(source);
  const std::string name(spec.layers.empty() ? dialect.name : differing_layers);
  GgufMetadata metadata = {{"general.architecture", name}};
  const auto add = [&](const char* key, auto value) { metadata.push_back({name + "." + key, value}); };
  const auto count = [&](const char* key, int64_t value) { add(key, static_cast<uint32_t>(value)); };
  const auto each_layer = [&](const char* key, auto size) {
    if (spec.layers.empty()) return count(key, size(spec.layer(0)));
    std::vector<int32_t> sizes;
    for (const LayerShape& layer : spec.layers) sizes.push_back(static_cast<int32_t>(size(layer)));
    add(key, sizes);
  };
  // llama.cpp lets these architectures look back without limit. Within the window that is no difference.
  const bool slides = spec.window(spec.num_hidden_layers - 1) > 0;
  count("context_length",
        slides ? std::min(spec.sliding_window, spec.max_position_embeddings) : spec.max_position_embeddings);
  if (slides && spec.max_window_layers == 0) count("attention.sliding_window", spec.sliding_window);
  count("vocab_size", spec.vocab_size);
  count("block_count", spec.num_hidden_layers);
  count("embedding_length", spec.hidden_size);
  each_layer("feed_forward_length", [](const LayerShape& layer) { return layer.intermediate_size; });
  each_layer("attention.head_count",
             [&](const LayerShape& layer) { return layer.num_key_value_heads * spec.query_group(); });
  each_layer("attention.head_count_kv", [](const LayerShape& layer) { return layer.num_key_value_heads; });
  if (spec.norm == NormType::layer)
    add("attention.layer_norm_epsilon", spec.norm_eps);
  else
    add("attention.layer_norm_rms_epsilon", spec.norm_eps);
  if (spec.positions != Positions::rope) return metadata;
  count("attention.key_length", spec.head_dim);
  count("attention.value_length", spec.head_dim);
  count("rope.dimension_count", spec.head_dim);
  add("rope.freq_base", static_cast<float>(spec.rope_theta));
  if (spec.rope_scaling.type == RopeScalingType::linear) {
    add("rope.scaling.type", std::string("linear"));
    add("rope.scaling.factor", static_cast<float>(spec.rope_scaling.factor));
  }
  return metadata;
}

std::vector<ExportedTensor> exported_tensors(const FolderWeights& source, GgufType type) {
  const ModelSpec& spec = source.spec();
  const Dialect& dialect = dialect_of(source);
  std::vector<ExportedTensor> tensors;
  for (const Module& module : source.inventory().modules()) {
    ExportedTensor tensor;
    tensor.module = &module;
    tensor.order = row_order(module, spec, dialect);
    tensor.target = {target_name(module) + ".weight", GgufType::f32, module.matrix() ? module.rows : 0,
                     module.cols};
    if (module.matrix() && module.role != Role::position_embedding)
      tensor.target.type = module.cols % info(type).block == 0 ? type : GgufType::f16;
    tensors.push_back(tensor);
    if (!module.bias) continue;
    tensor.bias = true;
    tensor.target = {target_name(module) + ".bias", GgufType::f32, 0,
                     module.matrix() ? module.rows : module.cols};
    tensors.push_back(std::move(tensor));
  }
  if (spec.rope_scaling.type == RopeScalingType::llama3) {
    ExportedTensor& factors = tensors.emplace_back();
    factors.values = frequency_factors(spec);
    factors.target = {"rope_freqs.weight", GgufType::f32, 0, std::ssize(factors.values)};
  }
  return tensors;
}

}  // namespace whittle
