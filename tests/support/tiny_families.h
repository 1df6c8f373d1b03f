#pragma once
// Small GPT-2 and BLOOM folders with random weights, written without the product's own writer.

#include <string>
#include <vector>

#include "tests/support/tiny_model.h"

namespace whittle::test {

struct TinyFamily {
  bool gpt2 = true;   // else BLOOM
  bool based = true;  // names begin with "transformer."
  bool tied = true;
  bool masks = false;  // GPT-2's "attn.bias" and "attn.masked_bias"
  int64_t hidden = 64, heads = 4, layers = 2, vocab = 71, positions = 96;
  std::string dtype = "F16";
  uint64_t seed = 7;
};

inline std::vector<RawTensor> tensors_of(const TinyFamily& model) {
  SplitMix64 random(model.seed);
  std::vector<RawTensor> tensors;
  const std::string base = model.based ? "transformer." : "";
  const int64_t hidden = model.hidden;
  const auto add = [&](const std::string& name, const std::vector<int64_t>& shape, float low, float high) {
    tensors.push_back(random_tensor(random, name, model.dtype, shape, low, high));
  };
  const auto norm = [&](const std::string& name) {
    add(base + name + ".weight", {hidden}, 0.5f, 1.5f);
    add(base + name + ".bias", {hidden}, -0.2f, 0.2f);
  };
  // GPT-2 has its linears as [inputs, outputs].
  const auto linear = [&](const std::string& name, int64_t outputs, int64_t inputs) {
    add(base + name + ".weight", model.gpt2 ? std::vector{inputs, outputs} : std::vector{outputs, inputs},
        -0.2f, 0.2f);
    add(base + name + ".bias", {outputs}, -0.2f, 0.2f);
  };
  const std::string embedding = base + (model.gpt2 ? "wte" : "word_embeddings");
  add(embedding + ".weight", {model.vocab, hidden}, -1, 1);
  if (model.gpt2)
    add(base + "wpe.weight", {model.positions, hidden}, -0.5f, 0.5f);
  else
    norm("word_embeddings_layernorm");
  for (int64_t layer = 0; layer < model.layers; ++layer) {
    const std::string prefix = "h." + std::to_string(layer) + ".";
    const auto named = [&](const char* gpt2, const char* bloom) {
      return prefix + (model.gpt2 ? gpt2 : bloom);
    };
    norm(named("ln_1", "input_layernorm"));
    linear(named("attn.c_attn", "self_attention.query_key_value"), 3 * hidden, hidden);
    linear(named("attn.c_proj", "self_attention.dense"), hidden, hidden);
    norm(named("ln_2", "post_attention_layernorm"));
    linear(named("mlp.c_fc", "mlp.dense_h_to_4h"), 4 * hidden, hidden);
    linear(named("mlp.c_proj", "mlp.dense_4h_to_h"), hidden, 4 * hidden);
    if (!model.masks) continue;
    tensors.push_back({base + prefix + "attn.bias", "U8", {1, 1, 8, 8}, std::string(64, '\1')});
    tensors.push_back({base + prefix + "attn.masked_bias", "F32", {}, encode({-1e4f}, "F32")});
  }
  norm("ln_f");
  if (!model.tied) add("lm_head.weight", {model.vocab, hidden}, -1, 1);
  return tensors;
}

inline nlohmann::json config_of(const TinyFamily& model) {
  nlohmann::json config = {
      {"architectures", {model.gpt2 ? "GPT2LMHeadModel" : "BloomForCausalLM"}},
      {"model_type", model.gpt2 ? "gpt2" : "bloom"},
      {"vocab_size", model.vocab},
      {"n_layer", model.layers},
      {"n_head", model.heads},
      {"tie_word_embeddings", model.tied},
      {"layer_norm_epsilon", 1e-5},
  };
  config[model.gpt2 ? "n_embd" : "hidden_size"] = model.hidden;
  config[model.gpt2 ? "n_positions" : "seq_length"] = model.positions;
  if (model.gpt2) config["activation_function"] = "gelu_new";
  return config;
}

// config.json and model.safetensors in a folder that is made.
inline std::filesystem::path write_family(const std::filesystem::path& folder, const TinyFamily& model) {
  std::filesystem::create_directories(folder);
  write_text(folder / "config.json", config_of(model).dump(2));
  write_safetensors(folder / "model.safetensors", tensors_of(model));
  return folder;
}

inline const RawTensor& tensor_named(const std::vector<RawTensor>& tensors, const std::string& name) {
  for (const RawTensor& tensor : tensors)
    if (tensor.name == name) return tensor;
  throw std::runtime_error("no tensor " + name);
}

// The values of an F16 tensor.
inline std::vector<float> values_of_f16(const RawTensor& tensor) {
  std::vector<float> values;
  for (size_t i = 0; i + 1 < tensor.bytes.size(); i += 2) {
    uint16_t half;
    std::memcpy(&half, tensor.bytes.data() + i, 2);
    values.push_back(f16_to_float(half));
  }
  return values;
}

}  // namespace whittle::test
