#pragma once
// What tells one decoder from another: plain data with Hugging Face's names, read from config.json.

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace whittle {

class JsonFields;
class ModelFile;

enum class RopeScalingType : uint8_t { none, linear, llama3 };

struct RopeScaling {
  RopeScalingType type = RopeScalingType::none;
  double factor = 1;
  double low_freq_factor = 1, high_freq_factor = 1;  // llama3
  int64_t original_max_position_embeddings = 0;      // llama3
};

enum class NormType : uint8_t {
  rms,    // x / sqrt(mean(x²) + eps) · weight
  layer,  // (x − mean) / sqrt(variance + eps) · weight + bias
};
// How a token learns where it stands.
enum class Positions : uint8_t {
  rope,     // queries and keys are rotated
  learned,  // a row of a table is added to the token's embedding
  alibi,    // scores fall with the distance, at a slope a head
};
// How the rows of the query, key and value projections lie in the file.
enum class QkvLayout : uint8_t {
  separate,  // three linears
  by_part,   // one: all of q, then k, then v
  by_head,   // one: q, k and v of the first head, then of the next
};
enum class Activation : uint8_t {
  silu,       // v / (1 + exp(−v))
  gelu_tanh,  // v / 2 · (1 + tanh(√(2/π) · (v + 0.044715 v³))), "gelu_new"
};

// What one layer has, where layers differ. 0 of either: no MLP, or no attention, and no norm before it.
struct LayerShape {
  int64_t intermediate_size = 0;
  int64_t num_key_value_heads = 0;  // each with as many query heads as in every other layer

  bool operator==(const LayerShape&) const = default;
};

struct ModelSpec {
  std::string model_type;  // "llama", "mistral", "qwen2", "qwen3", "gpt2", "bloom"
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_hidden_layers = 0;
  int64_t num_attention_heads = 0;
  int64_t num_key_value_heads = 0;
  int64_t head_dim = 0;
  int64_t vocab_size = 0;
  int64_t max_position_embeddings = 0;

  NormType norm = NormType::rms;
  float norm_eps = 0;
  bool embedding_norm = false;  // after the embedding

  Positions positions = Positions::rope;
  double rope_theta = 0;
  RopeScaling rope_scaling;

  QkvLayout qkv_layout = QkvLayout::separate;
  bool qkv_bias = false;
  bool attention_output_bias = false;
  bool qk_norm = false;           // RMSNorm over head_dim of each query and key head before RoPE
  int64_t sliding_window = 0;     // positions a token may look back over, itself included; 0: all
  int64_t max_window_layers = 0;  // layers below this index attend over everything even so

  bool gated_mlp = true;  // down(act(gate(x)) · up(x)); else down(act(up(x)))
  Activation activation = Activation::silu;
  bool mlp_bias = false;

  bool conv1d = false;  // the layers' linears lie as [inputs, outputs] in a float file
  bool tie_word_embeddings = false;
  int32_t bos_token_id = -1;           // −1: none
  std::vector<int32_t> eos_token_ids;  // generation_config.json's where it exists, else config.json's

  // Where layers differ: one for each, of which none has more than the sizes above. Else empty.
  std::vector<LayerShape> layers;

  LayerShape layer(int64_t index) const {
    return layers.empty() ? LayerShape{intermediate_size, num_key_value_heads}
                          : layers[static_cast<size_t>(index)];
  }
  // Query heads that share a key/value head.
  int64_t query_group() const { return num_attention_heads / num_key_value_heads; }
  // Of a layer, and the most that one has.
  int64_t q_size(int64_t layer) const { return kv_size(layer) * query_group(); }
  int64_t kv_size(int64_t layer) const { return this->layer(layer).num_key_value_heads * head_dim; }
  int64_t q_size() const { return num_attention_heads * head_dim; }
  int64_t kv_size() const { return num_key_value_heads * head_dim; }
  // Positions that a token of `layer` may look back over, itself included; 0: all.
  int64_t window(int64_t layer) const { return layer >= max_window_layers ? sliding_window : 0; }
};

// Of config.json, ours alone: what each layer has, where layers differ. An array of num_hidden_layers objects
// {"intermediate_size": 512, "num_key_value_heads": 2}, both up to what the model's own fields say; see
// README.md.
inline constexpr const char* layer_shapes_field = "whittle_layers";

// Errors name the file and the field or tensor: a missing or out-of-range value, an unknown architecture, any
// field that would change the computation in a way that we do not honour, a missing tensor, and one that the
// spec has no place for.
ModelSpec read_model_spec(const ModelFile& file);
// The spec alone, tensors unchecked. `config` and `generation` are objects; `folder` names them in errors.
ModelSpec read_config(const nlohmann::json& config, const nlohmann::json& generation,
                      const std::filesystem::path& folder);
ModelSpec read_config(const JsonFields& config, const JsonFields& generation);

}  // namespace whittle
