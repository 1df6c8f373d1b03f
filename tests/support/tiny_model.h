#pragma once
// Small valid model folders with random weights, written without the product's own writer.

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "kernels/float16.h"

namespace whittle::test {

struct RawTensor {
  std::string name, dtype;
  std::vector<int64_t> shape;
  std::string bytes;
};

struct TinyModel {
  std::string architecture = "LlamaForCausalLM";  // or Mistral…, Qwen2…, Qwen3ForCausalLM
  int64_t hidden_size = 8, intermediate_size = 16, num_hidden_layers = 2;
  int64_t num_attention_heads = 2, num_key_value_heads = 1, head_dim = 4;
  int64_t vocab_size = 16, max_position_embeddings = 64;
  std::string dtype = "F32";    // or "F16", "BF16"
  bool attention_bias = false;  // Llama and Qwen3; Qwen2 always has those of q, k and v
  bool mlp_bias = false;        // Llama
  bool tied = true;
  std::string tied_name = "model.embed_tokens";  // the module that holds the tied matrix; or "lm_head"
  uint64_t seed = 1;
};

// splitmix64, so that the same seed gives the same model with every standard library.
class SplitMix64 {
 public:
  explicit SplitMix64(uint64_t seed) : state_(seed) {}
  uint64_t bits() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  float uniform(float low, float high) {
    return low + (high - low) * static_cast<float>(bits() >> 40) * 0x1p-24f;
  }

 private:
  uint64_t state_;
};

template <typename T>
std::string bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

// Values as bytes of F32, F16 or BF16.
inline std::string encode(const std::vector<float>& values, const std::string& dtype) {
  if (dtype == "F32") return bytes_of(values);
  std::vector<uint16_t> halves;
  for (const float value : values)
    halves.push_back(dtype == "F16" ? float_to_f16(value) : float_to_bf16(value));
  return bytes_of(halves);
}

// A tensor of `dtype` with values from low to high.
inline RawTensor random_tensor(SplitMix64& random, const std::string& name, const std::string& dtype,
                               const std::vector<int64_t>& shape, float low, float high) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  std::vector<float> values;
  for (int64_t i = 0; i < count; ++i) values.push_back(random.uniform(low, high));
  return {name, dtype, shape, encode(values, dtype)};
}

inline std::vector<RawTensor> tensors_of(const TinyModel& model) {
  SplitMix64 random(model.seed);
  std::vector<RawTensor> tensors;
  const int64_t hidden = model.hidden_size, q_size = model.num_attention_heads * model.head_dim;
  const int64_t kv_size = model.num_key_value_heads * model.head_dim;
  const bool qwen2 = model.architecture == "Qwen2ForCausalLM",
             qwen3 = model.architecture == "Qwen3ForCausalLM";
  const auto norm = [&](const std::string& name, int64_t size) {
    tensors.push_back(random_tensor(random, name + ".weight", model.dtype, {size}, 0.5f, 1.5f));
  };
  const auto linear = [&](const std::string& name, int64_t rows, int64_t cols, bool bias) {
    tensors.push_back(random_tensor(random, name + ".weight", model.dtype, {rows, cols}, -0.5f, 0.5f));
    if (bias) tensors.push_back(random_tensor(random, name + ".bias", model.dtype, {rows}, -0.2f, 0.2f));
  };
  for (int64_t layer = 0; layer < model.num_hidden_layers; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    norm(prefix + "input_layernorm", hidden);
    norm(prefix + "post_attention_layernorm", hidden);
    if (qwen3) norm(prefix + "self_attn.q_norm", model.head_dim);
    if (qwen3) norm(prefix + "self_attn.k_norm", model.head_dim);
    linear(prefix + "self_attn.q_proj", q_size, hidden, model.attention_bias || qwen2);
    linear(prefix + "self_attn.k_proj", kv_size, hidden, model.attention_bias || qwen2);
    linear(prefix + "self_attn.v_proj", kv_size, hidden, model.attention_bias || qwen2);
    linear(prefix + "self_attn.o_proj", hidden, q_size, model.attention_bias && !qwen2);
    linear(prefix + "mlp.gate_proj", model.intermediate_size, hidden, model.mlp_bias);
    linear(prefix + "mlp.up_proj", model.intermediate_size, hidden, model.mlp_bias);
    linear(prefix + "mlp.down_proj", hidden, model.intermediate_size, model.mlp_bias);
  }
  norm("model.norm", hidden);
  linear(model.tied ? model.tied_name : "model.embed_tokens", model.vocab_size, hidden, false);
  if (!model.tied) linear("lm_head", model.vocab_size, hidden, false);
  return tensors;
}

inline nlohmann::ordered_json config_of(const TinyModel& model) {
  nlohmann::ordered_json config = {
      {"architectures", {model.architecture}},
      {"hidden_act", "silu"},
      {"hidden_size", model.hidden_size},
      {"intermediate_size", model.intermediate_size},
      {"max_position_embeddings", model.max_position_embeddings},
      {"num_attention_heads", model.num_attention_heads},
      {"num_hidden_layers", model.num_hidden_layers},
      {"num_key_value_heads", model.num_key_value_heads},
      {"head_dim", model.head_dim},
      {"rms_norm_eps", 1e-6},
      {"rope_theta", 10000.0},
      {"tie_word_embeddings", model.tied},
      {"vocab_size", model.vocab_size},
      {"bos_token_id", 0},
      {"eos_token_id", 1},
  };
  if (model.architecture == "LlamaForCausalLM") {
    config["model_type"] = "llama";
    config["attention_bias"] = model.attention_bias;
    config["mlp_bias"] = model.mlp_bias;
  } else if (model.architecture == "MistralForCausalLM") {
    config["model_type"] = "mistral";
    config["sliding_window"] = nullptr;
  } else if (model.architecture == "Qwen2ForCausalLM") {
    config["model_type"] = "qwen2";
  } else {
    config["model_type"] = "qwen3";
    config["attention_bias"] = model.attention_bias;
  }
  return config;
}

inline void write_text(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A header and what follows it, as a safetensors file has them: nothing is checked.
inline std::string safetensors_bytes(const std::string& header, const std::string& buffer) {
  const uint64_t length = header.size();
  std::string result(8, '\0');
  std::memcpy(result.data(), &length, 8);
  return result + header + buffer;
}

// The header of these tensors laid out one after the other.
inline nlohmann::ordered_json header_of(const std::vector<RawTensor>& tensors) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  size_t end = 0;
  for (const RawTensor& tensor : tensors) {
    header[tensor.name] = {
        {"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {end, end + tensor.bytes.size()}}};
    end += tensor.bytes.size();
  }
  return header;
}

inline std::string buffer_of(const std::vector<RawTensor>& tensors) {
  std::string buffer;
  for (const RawTensor& tensor : tensors) buffer += tensor.bytes;
  return buffer;
}

inline void write_safetensors(const std::filesystem::path& path, const std::vector<RawTensor>& tensors) {
  write_text(path, safetensors_bytes(header_of(tensors).dump(), buffer_of(tensors)));
}

// config.json and model.safetensors in an existing folder.
inline void write_tiny_model(const std::filesystem::path& folder, const TinyModel& model = {}) {
  write_text(folder / "config.json", config_of(model).dump(2));
  write_safetensors(folder / "model.safetensors", tensors_of(model));
}

// The same model in two shards and an index.
inline void write_sharded_tiny_model(const std::filesystem::path& folder, const TinyModel& model = {}) {
  write_text(folder / "config.json", config_of(model).dump(2));
  const std::vector<RawTensor> tensors = tensors_of(model);
  const auto middle = tensors.begin() + static_cast<std::ptrdiff_t>(tensors.size() / 2);
  const std::vector<std::pair<std::string, std::vector<RawTensor>>> shards = {
      {"model-00001-of-00002.safetensors", {tensors.begin(), middle}},
      {"model-00002-of-00002.safetensors", {middle, tensors.end()}}};
  nlohmann::json map;
  for (const auto& [file, part] : shards) {
    write_safetensors(folder / file, part);
    for (const RawTensor& tensor : part) map[tensor.name] = file;
  }
  write_text(folder / "model.safetensors.index.json",
             nlohmann::json{{"metadata", {{"total_size", 0}}}, {"weight_map", map}}.dump());
}

}  // namespace whittle::test
