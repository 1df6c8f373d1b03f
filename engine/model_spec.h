#pragma once
// What tells one decoder from another: plain data with Hugging Face's names, read from config.json.

#include <cstdint>
#include <string>
#include <vector>

namespace whittle {

class ModelFile;

enum class RopeScalingType : uint8_t { none, linear, llama3 };

struct RopeScaling {
  RopeScalingType type = RopeScalingType::none;
  double factor = 1;
  double low_freq_factor = 1, high_freq_factor = 1;  // llama3
  int64_t original_max_position_embeddings = 0;      // llama3
};

struct ModelSpec {
  std::string model_type;  // "llama", "mistral", "qwen2", "qwen3"
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_hidden_layers = 0;
  int64_t num_attention_heads = 0;
  int64_t num_key_value_heads = 0;
  int64_t head_dim = 0;
  int64_t vocab_size = 0;
  int64_t max_position_embeddings = 0;
  float rms_norm_eps = 0;
  double rope_theta = 0;
  RopeScaling rope_scaling;
  int64_t sliding_window = 0;  // positions a token may look back over, itself included; 0: all
  int64_t max_window_layers =
      0;                  // layers below this index attend over everything even when sliding_window is set
  bool qkv_bias = false;  // q_proj, k_proj and v_proj
  bool attention_output_bias = false;  // o_proj
  bool mlp_bias = false;
  bool qk_norm = false;  // RMSNorm over head_dim of each query and key head before RoPE
  bool tie_word_embeddings = false;
  int32_t bos_token_id = -1;           // −1: none
  std::vector<int32_t> eos_token_ids;  // generation_config.json's where it exists, else config.json's

  int64_t q_size() const { return num_attention_heads * head_dim; }
  int64_t kv_size() const { return num_key_value_heads * head_dim; }
};

// Errors name the file and the field or tensor: a missing or out-of-range value, an unknown architecture, any
// field that would change the computation in a way that we do not honour, a missing tensor, and one that the
// spec has no place for.
ModelSpec read_model_spec(const ModelFile& file);

// One linear layer of a decoder block, in the order in which a token meets them.
struct LinearShape {
  std::string name;  // "model.layers.3.self_attn.q_proj": its tensors are name + ".weight", …
  int64_t rows = 0, cols = 0;
  bool bias = false;
};
// The seven linears of a layer: q, k, v, o, gate, up, down.
std::vector<LinearShape> layer_linears(const ModelSpec& spec, int64_t layer);

// The modules that hold the [vocab_size, hidden_size] matrices. Tied, both are the one that the file has, and
// model.embed_tokens where it has both.
struct EmbeddingModules {
  std::string input, output;
};
EmbeddingModules embedding_modules(const ModelFile& file, const ModelSpec& spec);

}  // namespace whittle
