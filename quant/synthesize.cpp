#include "quant/synthesize.h"

#include <algorithm>
#include <array>
#include <vector>

#include "engine/files/output_folder.h"
#include "engine/files/safetensors_writer.h"
#include "engine/inventory.h"
#include "engine/model_spec.h"
#include "kernels/error.h"
#include "kernels/float16.h"

namespace whittle {
namespace {

// clang-format off
constexpr std::array<ModelShape, 10> shapes = {{
    {"smollm-135m",    "LlamaForCausalLM",   "llama",   576,  1536, 30,  9,  3,  64,  49152,   2048,   1e4, 1e-5, true},
    {"qwen2.5-0.5b",   "Qwen2ForCausalLM",   "qwen2",   896,  4864, 24, 14,  2,  64, 151936,  32768,   1e6, 1e-6, true},
    {"qwen3-0.6b",     "Qwen3ForCausalLM",   "qwen3",  1024,  3072, 28, 16,  8, 128, 151936,  40960,   1e6, 1e-6, true},
    {"tinyllama-1.1b", "LlamaForCausalLM",   "llama",  2048,  5632, 22, 32,  4,  64,  32000,   2048,   1e4, 1e-5, false},
    {"llama-3.2-1b",   "LlamaForCausalLM",   "llama",  2048,  8192, 16, 32,  8,  64, 128256, 131072,   5e5, 1e-5, true},
    {"llama-2-7b",     "LlamaForCausalLM",   "llama",  4096, 11008, 32, 32, 32, 128,  32000,   4096,   1e4, 1e-5, false},
    {"mistral-7b",     "MistralForCausalLM", "mistral", 4096, 14336, 32, 32,  8, 128,  32000, 32768,   1e4, 1e-5, false},
    {"llama-3.1-8b",   "LlamaForCausalLM",   "llama",  4096, 14336, 32, 32,  8, 128, 128256, 131072,   5e5, 1e-5, false},
    {"gpt2",           "GPT2LMHeadModel",    "gpt2",    768,  3072, 12, 12, 12,  64,  50257,   1024,     0, 1e-5, true},
    {"bloom-560m",     "BloomForCausalLM",   "bloom",  1024,  4096, 24, 16, 16,  64, 250880,   2048,     0, 1e-5, true},
}};
// clang-format on

nlohmann::json config_of(const ModelShape& shape, DType dtype) {
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
                              {"factor", shape.name == "llama-3.2-1b" ? 32.0 : 8.0},
                              {"low_freq_factor", 1.0},
                              {"high_freq_factor", 4.0},
                              {"original_max_position_embeddings", 8192}};
  return config;
}

std::vector<TensorInfo> tensors_of(const Inventory& inventory, DType dtype) {
  std::vector<TensorInfo> tensors;
  for (const Module& module : inventory.modules()) {
    std::vector<int64_t> shape = {module.cols};
    if (module.matrix()) shape.insert(shape.begin(), module.rows);
    if (module.transposed) std::ranges::reverse(shape);
    tensors.push_back({module.name + ".weight", dtype, shape});
    if (module.bias)
      tensors.push_back({module.name + ".bias", dtype, {module.matrix() ? module.rows : module.cols}});
  }
  return tensors;
}

// SplitMix64 (Steele, Lea and Flood, 2014): a number of its own for every index, so that pieces can be made
// anywhere.
uint64_t random_bits(uint64_t index) {
  uint64_t z = (index + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

// The sum of four uniform numbers is close enough to normal for weights.
float random_weight(uint64_t index) {
  const uint64_t bits = random_bits(index);
  const auto sum =
      static_cast<float>((bits & 0xffff) + ((bits >> 16) & 0xffff) + ((bits >> 32) & 0xffff) + (bits >> 48));
  constexpr float mean = 131070.0f, deviation = 37837.0f;
  return (sum - mean) / deviation * 0.02f;
}

}  // namespace

std::span<const ModelShape> model_shapes() { return shapes; }

void synthesize(std::string_view name, const std::filesystem::path& out, DType dtype, const Team& team,
                const std::function<void(int64_t done, int64_t total)>& progress) {
  const auto shape =
      std::find_if(shapes.begin(), shapes.end(), [&](const ModelShape& row) { return row.name == name; });
  if (shape == shapes.end()) {
    std::string names;
    for (const ModelShape& row : shapes) names += fmt::format("{}{}", names.empty() ? "" : ", ", row.name);
    fail("unknown shape {}; expected one of {}", name, names);
  }
  const nlohmann::json config = config_of(*shape, dtype);
  const Inventory inventory(read_config(config, nlohmann::json::object(), out));
  const std::vector<TensorInfo> tensors = tensors_of(inventory, dtype);
  OutputFolder folder(out);
  SafetensorsWriter writer(folder.path() / "model.safetensors", tensors, {{"format", "pt"}});
  const auto round = dtype == DType::F16 ? float_to_f16 : float_to_bf16;
  int64_t total = 0, done = 0;
  for (const TensorInfo& tensor : tensors) total += *tensor_bytes(tensor.dtype, tensor.shape) / 2;
  uint64_t first_index = 0;
  for (const TensorInfo& tensor : tensors) {
    const int64_t count = *tensor_bytes(tensor.dtype, tensor.shape) / 2;
    const bool norm = tensor.shape.size() == 1 && tensor.name.ends_with(".weight");
    constexpr int64_t piece = 1 << 20;
    team.for_each((count + piece - 1) / piece, [&](int64_t i) {
      if (interrupted()) return;
      std::vector<uint16_t> values(static_cast<size_t>(std::min(piece, count - i * piece)));
      for (size_t j = 0; j < values.size(); ++j)
        values[j] = round(norm ? 1.0f : random_weight(first_index + static_cast<uint64_t>(i * piece) + j));
      writer.write(tensor.name, i * piece * 2, std::as_bytes(std::span(values)));
    });
    first_index += static_cast<uint64_t>(count);
    done += count;
    check_interrupted();
    if (progress) progress(done, total);
  }
  writer.finish();
  folder.commit(config);
}

}  // namespace whittle
