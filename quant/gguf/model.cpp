#include "quant/gguf/model.h"

#include <algorithm>
#include <iterator>
#include <string_view>

#include "engine/rope.h"
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
    {"llama", "llama", true, true, true},
    {"mistral", "llama", true, true, true},
    {"qwen2", "qwen2", false, false, false},
    {"qwen3", "qwen3", false, true, false},
};

// Refuses what a reader would leave out in silence.
const Dialect& dialect_of(const ModelFile& file, const ModelSpec& spec) {
  const auto found = std::ranges::find(dialects, spec.model_type, &Dialect::model_type);
  const auto reject = [&](const std::string& what) {
    fail("{}: GGUF has no place for {} of model_type \"{}\"", (file.folder() / "config.json").string(), what,
         spec.model_type);
  };
  if (found == std::end(dialects)) reject("the tensors");
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

// llama.cpp's names of the linears of a layer, in the order of layer_linears(), and their heads' rotary
// halves.
struct LinearName {
  std::string_view name;
  bool rotated;
};
constexpr LinearName linear_names[] = {{"attn_q", true},       {"attn_k", true},    {"attn_v", false},
                                       {"attn_output", false}, {"ffn_gate", false}, {"ffn_up", false},
                                       {"ffn_down", false}};

class TensorList {
 public:
  explicit TensorList(GgufType type) : type_(type) {}

  void matrix(const std::string& name, const std::string& module, int64_t rows, int64_t cols,
              int64_t head_dim = 0) {
    ExportedTensor& tensor =
        add(name + ".weight", cols % info(type_).block == 0 ? type_ : GgufType::f16, rows, cols);
    tensor.source = module;
    tensor.head_dim = head_dim;
  }
  void vector(const std::string& name, const std::string& source, int64_t size, int64_t head_dim = 0) {
    ExportedTensor& tensor = add(name, GgufType::f32, 0, size);
    tensor.source = source;
    tensor.head_dim = head_dim;
  }
  void values(const std::string& name, std::vector<float> values) {
    add(name, GgufType::f32, 0, static_cast<int64_t>(values.size())).values = std::move(values);
  }
  std::vector<ExportedTensor> take() { return std::move(tensors_); }

 private:
  ExportedTensor& add(const std::string& name, GgufType type, int64_t rows, int64_t cols) {
    ExportedTensor& tensor = tensors_.emplace_back();
    tensor.target.name = name;
    tensor.target.type = type;
    tensor.target.rows = rows;
    tensor.target.cols = cols;
    return tensor;
  }

  GgufType type_;
  std::vector<ExportedTensor> tensors_;
};

}  // namespace

GgufMetadata model_metadata(const ModelFile& file, const ModelSpec& spec) {
  const std::string name(dialect_of(file, spec).name);
  GgufMetadata metadata = {{"general.architecture", name}};
  const auto add = [&](const char* key, auto value) { metadata.push_back({name + "." + key, value}); };
  const auto count = [&](const char* key, int64_t value) { add(key, static_cast<uint32_t>(value)); };
  // llama.cpp lets these architectures look back without limit. Within the window that is no difference.
  const bool slides = spec.sliding_window > 0 && spec.max_window_layers < spec.num_hidden_layers;
  count("context_length",
        slides ? std::min(spec.sliding_window, spec.max_position_embeddings) : spec.max_position_embeddings);
  if (slides && spec.max_window_layers == 0) count("attention.sliding_window", spec.sliding_window);
  count("vocab_size", spec.vocab_size);
  count("block_count", spec.num_hidden_layers);
  count("embedding_length", spec.hidden_size);
  count("feed_forward_length", spec.intermediate_size);
  count("attention.head_count", spec.num_attention_heads);
  count("attention.head_count_kv", spec.num_key_value_heads);
  count("attention.key_length", spec.head_dim);
  count("attention.value_length", spec.head_dim);
  add("attention.layer_norm_rms_epsilon", spec.rms_norm_eps);
  count("rope.dimension_count", spec.head_dim);
  add("rope.freq_base", static_cast<float>(spec.rope_theta));
  if (spec.rope_scaling.type == RopeScalingType::linear) {
    add("rope.scaling.type", std::string("linear"));
    add("rope.scaling.factor", static_cast<float>(spec.rope_scaling.factor));
  }
  return metadata;
}

std::vector<ExportedTensor> exported_tensors(const ModelFile& file, const ModelSpec& spec, GgufType type) {
  const Dialect& dialect = dialect_of(file, spec);
  const EmbeddingModules embedding = embedding_modules(file, spec);
  TensorList list(type);
  list.matrix("token_embd", embedding.input, spec.vocab_size, spec.hidden_size);
  if (embedding.output != embedding.input)
    list.matrix("output", embedding.output, spec.vocab_size, spec.hidden_size);
  list.vector("output_norm.weight", "model.norm.weight", spec.hidden_size);
  if (spec.rope_scaling.type == RopeScalingType::llama3)
    list.values("rope_freqs.weight", frequency_factors(spec));
  for (int64_t layer = 0; layer < spec.num_hidden_layers; ++layer) {
    const std::string source = fmt::format("model.layers.{}.", layer), target = fmt::format("blk.{}.", layer);
    list.vector(target + "attn_norm.weight", source + "input_layernorm.weight", spec.hidden_size);
    list.vector(target + "ffn_norm.weight", source + "post_attention_layernorm.weight", spec.hidden_size);
    if (spec.qk_norm) {
      list.vector(target + "attn_q_norm.weight", source + "self_attn.q_norm.weight", spec.head_dim);
      list.vector(target + "attn_k_norm.weight", source + "self_attn.k_norm.weight", spec.head_dim);
    }
    const LinearName* row = linear_names;
    for (const LinearShape& linear : layer_linears(spec, layer)) {
      const std::string name = target + std::string(row->name);
      const int64_t head_dim = dialect.adjacent_pairs && row->rotated ? spec.head_dim : 0;
      list.matrix(name, linear.name, linear.rows, linear.cols, head_dim);
      if (linear.bias) list.vector(name + ".bias", linear.name + ".bias", linear.rows, head_dim);
      ++row;
    }
  }
  return list.take();
}

}  // namespace whittle
