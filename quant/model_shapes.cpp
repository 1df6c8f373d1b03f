#include "quant/model_shapes.h"

#include <algorithm>
#include <array>

namespace whittle {
namespace {

// clang-format off
constexpr std::array<ModelShape, 38> shapes = {{
    {"smollm-135m",      "LlamaForCausalLM",   "llama",     576,  1536,  30,   9,   3,  64,  49152,   2048,  1e4, 1e-5, true},
    {"smollm-360m",      "LlamaForCausalLM",   "llama",     960,  2560,  32,  15,   5,  64,  49152,   2048,  1e4, 1e-5, true},
    {"smollm-1.7b",      "LlamaForCausalLM",   "llama",    2048,  8192,  24,  32,  32,  64,  49152,   2048,  1e4, 1e-5, true},
    {"tinyllama-1.1b",   "LlamaForCausalLM",   "llama",    2048,  5632,  22,  32,   4,  64,  32000,   2048,  1e4, 1e-5, false},
    {"llama-3.2-1b",     "LlamaForCausalLM",   "llama",    2048,  8192,  16,  32,   8,  64, 128256, 131072,  5e5, 1e-5, true},
    {"llama-3.2-3b",     "LlamaForCausalLM",   "llama",    3072,  8192,  28,  24,   8, 128, 128256, 131072,  5e5, 1e-5, true},
    {"llama-2-7b",       "LlamaForCausalLM",   "llama",    4096, 11008,  32,  32,  32, 128,  32000,   4096,  1e4, 1e-5, false},
    {"llama-2-13b",      "LlamaForCausalLM",   "llama",    5120, 13824,  40,  40,  40, 128,  32000,   4096,  1e4, 1e-5, false},
    {"llama-2-70b",      "LlamaForCausalLM",   "llama",    8192, 28672,  80,  64,   8, 128,  32000,   4096,  1e4, 1e-5, false},
    {"llama-3.1-8b",     "LlamaForCausalLM",   "llama",    4096, 14336,  32,  32,   8, 128, 128256, 131072,  5e5, 1e-5, false},
    {"llama-3.1-70b",    "LlamaForCausalLM",   "llama",    8192, 28672,  80,  64,   8, 128, 128256, 131072,  5e5, 1e-5, false},
    {"llama-3.1-405b",   "LlamaForCausalLM",   "llama",   16384, 53248, 126, 128,   8, 128, 128256, 131072,  5e5, 1e-5, false},
    {"mistral-7b",       "MistralForCausalLM", "mistral",  4096, 14336,  32,  32,   8, 128,  32000,  32768,  1e4, 1e-5, false},
    {"mistral-nemo-12b", "MistralForCausalLM", "mistral",  5120, 14336,  40,  32,   8, 128, 131072, 131072,  1e6, 1e-5, false},
    {"mistral-small-24b", "MistralForCausalLM", "mistral", 5120, 32768,  40,  32,   8, 128, 131072,  32768,  1e8, 1e-5, false},
    {"qwen2.5-0.5b",     "Qwen2ForCausalLM",   "qwen2",     896,  4864,  24,  14,   2,  64, 151936,  32768,  1e6, 1e-6, true},
    {"qwen2.5-1.5b",     "Qwen2ForCausalLM",   "qwen2",    1536,  8960,  28,  12,   2, 128, 151936,  32768,  1e6, 1e-6, true},
    {"qwen2.5-3b",       "Qwen2ForCausalLM",   "qwen2",    2048, 11008,  36,  16,   2, 128, 151936,  32768,  1e6, 1e-6, true},
    {"qwen2.5-7b",       "Qwen2ForCausalLM",   "qwen2",    3584, 18944,  28,  28,   4, 128, 152064,  32768,  1e6, 1e-6, false},
    {"qwen2.5-14b",      "Qwen2ForCausalLM",   "qwen2",    5120, 13824,  48,  40,   8, 128, 152064,  32768,  1e6, 1e-6, false},
    {"qwen2.5-32b",      "Qwen2ForCausalLM",   "qwen2",    5120, 27648,  64,  40,   8, 128, 152064,  32768,  1e6, 1e-6, false},
    {"qwen2.5-72b",      "Qwen2ForCausalLM",   "qwen2",    8192, 29568,  80,  64,   8, 128, 152064,  32768,  1e6, 1e-6, false},
    {"qwen3-0.6b",       "Qwen3ForCausalLM",   "qwen3",    1024,  3072,  28,  16,   8, 128, 151936,  40960,  1e6, 1e-6, true},
    {"qwen3-1.7b",       "Qwen3ForCausalLM",   "qwen3",    2048,  6144,  28,  16,   8, 128, 151936,  40960,  1e6, 1e-6, true},
    {"qwen3-4b",         "Qwen3ForCausalLM",   "qwen3",    2560,  9728,  36,  32,   8, 128, 151936,  40960,  1e6, 1e-6, true},
    {"qwen3-8b",         "Qwen3ForCausalLM",   "qwen3",    4096, 12288,  36,  32,   8, 128, 151936,  40960,  1e6, 1e-6, false},
    {"qwen3-14b",        "Qwen3ForCausalLM",   "qwen3",    5120, 17408,  40,  40,   8, 128, 151936,  40960,  1e6, 1e-6, false},
    {"qwen3-32b",        "Qwen3ForCausalLM",   "qwen3",    5120, 25600,  64,  64,   8, 128, 151936,  40960,  1e6, 1e-6, false},
    {"gpt2",             "GPT2LMHeadModel",    "gpt2",      768,  3072,  12,  12,  12,  64,  50257,   1024,    0, 1e-5, true},
    {"gpt2-medium",      "GPT2LMHeadModel",    "gpt2",     1024,  4096,  24,  16,  16,  64,  50257,   1024,    0, 1e-5, true},
    {"gpt2-large",       "GPT2LMHeadModel",    "gpt2",     1280,  5120,  36,  20,  20,  64,  50257,   1024,    0, 1e-5, true},
    {"gpt2-xl",          "GPT2LMHeadModel",    "gpt2",     1600,  6400,  48,  25,  25,  64,  50257,   1024,    0, 1e-5, true},
    {"bloom-560m",       "BloomForCausalLM",   "bloom",    1024,  4096,  24,  16,  16,  64, 250880,   2048,    0, 1e-5, true},
    {"bloom-1b1",        "BloomForCausalLM",   "bloom",    1536,  6144,  24,  16,  16,  96, 250880,   2048,    0, 1e-5, true},
    {"bloom-1b7",        "BloomForCausalLM",   "bloom",    2048,  8192,  24,  16,  16, 128, 250880,   2048,    0, 1e-5, true},
    {"bloom-3b",         "BloomForCausalLM",   "bloom",    2560, 10240,  30,  32,  32,  80, 250880,   2048,    0, 1e-5, true},
    {"bloom-7b1",        "BloomForCausalLM",   "bloom",    4096, 16384,  30,  32,  32, 128, 250880,   2048,    0, 1e-5, true},
    {"bloom-176b",       "BloomForCausalLM",   "bloom",   14336, 57344,  70, 112, 112, 128, 250880,   2048,    0, 1e-5, true},
}};
// clang-format on

}  // namespace

std::span<const ModelShape> model_shapes() { return shapes; }

const ModelShape* find_shape(std::string_view name) {
  const auto found = std::ranges::find(shapes, name, &ModelShape::name);
  return found == shapes.end() ? nullptr : &*found;
}

nlohmann::json shape_config(const ModelShape& shape, DType dtype) {
  nlohmann::json config = {{"architectures", {shape.architecture}},
                           {"model_type", shape.model_type},
                           {"vocab_size", shape.vocab_size},
                           {"tie_word_embeddings", shape.tied},
                           {"torch_dtype", dtype == DType::F16 ? "float16" : "bfloat16"}};
  const auto set = [&](const char* field, auto value) { config[field] = value; };
  if (shape.model_type == "gpt2" || shape.model_type == "bloom") {
    const bool gpt2 = shape.model_type == "gpt2";
    set(gpt2 ? "n_embd" : "n_embed", shape.hidden_size);
    set("n_layer", shape.num_hidden_layers);
    set("n_head", shape.num_attention_heads);
    set(gpt2 ? "n_positions" : "seq_length", shape.max_position_embeddings);
    set("layer_norm_epsilon", shape.norm_eps);
    return config;
  }
  set("hidden_size", shape.hidden_size);
  set("intermediate_size", shape.intermediate_size);
  set("num_hidden_layers", shape.num_hidden_layers);
  set("num_attention_heads", shape.num_attention_heads);
  set("num_key_value_heads", shape.num_key_value_heads);
  set("head_dim", shape.head_dim);
  set("max_position_embeddings", shape.max_position_embeddings);
  set("rope_theta", shape.rope_theta);
  set("rms_norm_eps", shape.norm_eps);
  set("hidden_act", "silu");
  // A checkpoint of Llama 3.1 and later is trained on with stretched frequencies.
  if (shape.model_type == "llama" && shape.max_position_embeddings == 131072)
    config["rope_scaling"] = {{"rope_type", "llama3"},
                              {"factor", shape.name.starts_with("llama-3.2") ? 32.0 : 8.0},
                              {"low_freq_factor", 1.0},
                              {"high_freq_factor", 4.0},
                              {"original_max_position_embeddings", 8192}};
  return config;
}

}  // namespace whittle
