#include "engine/model_spec.h"

#include <algorithm>
#include <map>

#include "engine/architectures.h"
#include "engine/files/json_file.h"
#include "engine/files/model_file.h"
#include "kernels/error.h"

namespace whittle {

namespace {

// No model comes near these; within them no product of two sizes overflows.
constexpr int64_t max_hidden = 1 << 20;
constexpr int64_t max_intermediate = 1 << 22;
constexpr int64_t max_layers = 10'000;
constexpr int64_t max_heads = 1 << 14;
constexpr int64_t max_head_dim = 1 << 12;
constexpr int64_t max_vocab = 1 << 24;
constexpr int64_t max_positions = 1 << 27;

void read_sizes(const JsonFields& config, const Architecture& architecture, ModelSpec& spec) {
  spec.hidden_size = config.integer("hidden_size", 1, max_hidden);
  spec.intermediate_size = config.integer("intermediate_size", 1, max_intermediate);
  spec.num_hidden_layers = config.integer("num_hidden_layers", 1, max_layers);
  spec.vocab_size = config.integer("vocab_size", 1, max_vocab);
  spec.max_position_embeddings =
      config.integer("max_position_embeddings", 1, max_positions, architecture.max_position_embeddings);
  const int64_t heads = spec.num_attention_heads = config.integer("num_attention_heads", 1, max_heads);

  // Null means as many as query heads; left out means the architecture's default.
  const bool left_out = !config.object().contains("num_key_value_heads");
  const int64_t default_heads =
      left_out && architecture.num_key_value_heads ? architecture.num_key_value_heads : heads;
  spec.num_key_value_heads = config.integer("num_key_value_heads", 1, heads, default_heads);
  if (spec.num_key_value_heads > heads || heads % spec.num_key_value_heads != 0) {
    config.reject("num_key_value_heads", fmt::format("{} does not divide num_attention_heads = {}",
                                                     spec.num_key_value_heads, heads));
  }

  if (config.has("head_dim") || architecture.head_dim) {
    spec.head_dim = config.integer("head_dim", 1, max_head_dim, architecture.head_dim);
  } else {
    if (spec.hidden_size % heads != 0) {
      config.reject("num_attention_heads",
                    fmt::format("{} does not divide hidden_size = {}", heads, spec.hidden_size));
    }
    spec.head_dim = spec.hidden_size / heads;
  }
  if (spec.head_dim % 2 != 0 || spec.head_dim > max_head_dim) {
    config.reject("head_dim",
                  fmt::format("expected an even number up to {}, found {}", max_head_dim, spec.head_dim));
  }
  if (spec.q_size() > max_intermediate) {
    config.reject("num_attention_heads", fmt::format("{} heads of head_dim {} are more than {} values", heads,
                                                     spec.head_dim, max_intermediate));
  }
}

void only_these(const JsonFields& fields, std::initializer_list<std::string_view> known) {
  for (const auto& [key, value] : fields.object().items()) {
    if (std::ranges::find(known, key) == known.end() && !value.is_null()) {
      fields.reject(key.c_str(), "not supported with this rope_type");
    }
  }
}

void read_rope_object(const JsonFields& rope, ModelSpec& spec) {
  const std::string type = rope.string("rope_type", rope.string("type", "default"));
  if (rope.has("type") && rope.string("type") != type)
    rope.reject("type", "differs from rope_type " + quote(type));
  spec.rope_theta = rope.positive("rope_theta", spec.rope_theta);
  if (rope.positive("partial_rotary_factor", 1) != 1) rope.reject("partial_rotary_factor", "expected 1");
  RopeScaling& scaling = spec.rope_scaling;
  if (type == "default") {
    only_these(rope, {"type", "rope_type", "rope_theta", "partial_rotary_factor"});
  } else if (type == "linear") {
    only_these(rope, {"type", "rope_type", "rope_theta", "partial_rotary_factor", "factor"});
    scaling.type = RopeScalingType::linear;
    scaling.factor = rope.positive("factor");
  } else if (type == "llama3") {
    only_these(rope, {"type", "rope_type", "rope_theta", "partial_rotary_factor", "factor", "low_freq_factor",
                      "high_freq_factor", "original_max_position_embeddings"});
    scaling.type = RopeScalingType::llama3;
    scaling.factor = rope.positive("factor");
    scaling.low_freq_factor = rope.positive("low_freq_factor");
    scaling.high_freq_factor = rope.positive("high_freq_factor");
    if (scaling.low_freq_factor >= scaling.high_freq_factor) {
      rope.reject("low_freq_factor", fmt::format("expected less than high_freq_factor = {}, found {}",
                                                 scaling.high_freq_factor, scaling.low_freq_factor));
    }
    scaling.original_max_position_embeddings =
        rope.integer("original_max_position_embeddings", 1, max_positions);
  } else {
    rope.reject(
        rope.has("rope_type") ? "rope_type" : "type",
        fmt::format("{} is not supported, expected \"default\", \"linear\" or \"llama3\"", quote(type)));
  }
}

// Older files: rope_theta and rope_scaling. Newer ones: rope_parameters, which holds both.
void read_rope(const JsonFields& config, ModelSpec& spec) {
  spec.rope_theta = config.positive("rope_theta", 10000.0);
  if (config.has("rope_parameters")) {
    if (config.has("rope_scaling")) config.reject("rope_scaling", "stands beside rope_parameters");
    read_rope_object(config.object("rope_parameters"), spec);
  } else if (config.has("rope_scaling")) {
    read_rope_object(config.object("rope_scaling"), spec);
  }
}

int32_t token_id(const JsonFields& fields, const char* field, const nlohmann::json& value,
                 int64_t vocab_size) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() >= static_cast<uint64_t>(vocab_size)) {
    fields.reject(field, fmt::format("expected token ids below vocab_size = {}, found {}", vocab_size,
                                     json_text(value)));
  }
  return value.get<int32_t>();
}

void read_token_ids(const JsonFields& config, const JsonFields& generation, ModelSpec& spec) {
  if (config.has("bos_token_id")) {
    spec.bos_token_id = token_id(config, "bos_token_id", config.at("bos_token_id"), spec.vocab_size);
  }
  const JsonFields& source = generation.has("eos_token_id") ? generation : config;
  if (!source.has("eos_token_id")) return;
  const nlohmann::json& eos = source.at("eos_token_id");
  for (const nlohmann::json& id : eos.is_array() ? eos : nlohmann::json::array({eos})) {
    spec.eos_token_ids.push_back(token_id(source, "eos_token_id", id, spec.vocab_size));
  }
}

// What the tensors of a module may be.
struct Module {
  bool matrix = false;  // a linear or embedding, perhaps quantized; otherwise the weight of a norm
  bool bias = false;
};

std::map<std::string, Module> expected_modules(const ModelFile& file, const ModelSpec& spec) {
  std::map<std::string, Module> modules;
  for (int64_t layer = 0; layer < spec.num_hidden_layers; ++layer) {
    for (const LinearShape& linear : layer_linears(spec, layer)) modules[linear.name] = {true, linear.bias};
    const std::string prefix = fmt::format("model.layers.{}.", layer);
    modules[prefix + "input_layernorm"] = modules[prefix + "post_attention_layernorm"] = {};
    if (spec.qk_norm) modules[prefix + "self_attn.q_norm"] = modules[prefix + "self_attn.k_norm"] = {};
  }
  modules["model.norm"] = {};
  const EmbeddingModules embedding = embedding_modules(file, spec);
  modules[embedding.input] = modules[embedding.output] = {true, false};
  return modules;
}

bool is_frequencies(const std::string& tensor, int64_t layers) {
  if (tensor == "model.rotary_emb.inv_freq") return true;
  for (int64_t layer = 0; layer < layers; ++layer)
    if (tensor == fmt::format("model.layers.{}.self_attn.rotary_emb.inv_freq", layer)) return true;
  return false;
}

// A tensor that the spec has no place for, such as a bias that config.json does not mention, would be left
// out of the computation in silence.
void check_tensors(const ModelFile& file, const ModelSpec& spec) {
  constexpr std::string_view matrix_tensors[] = {
      "weight", "weight_packed", "weight_scale", "weight_zero_point", "weight_shape", "weight_g_idx"};
  const auto modules = expected_modules(file, spec);
  for (const auto& [name, module] : modules) {
    if (module.matrix ? !file.has_weight(name) : !file.find(name + ".weight")) file.get(name + ".weight");
    if (module.bias) file.get(name + ".bias");
  }
  for (const TensorView& tensor : file.tensors()) {
    const size_t dot = std::min(tensor.name.rfind('.'), tensor.name.size() - 1);
    const std::string name = tensor.name.substr(0, dot), part = tensor.name.substr(dot + 1);
    const bool of_matrix = std::ranges::find(matrix_tensors, part) != std::end(matrix_tensors);
    // Stands for what we compute: RoPE's frequencies, of a layer or of all, and the head that is the
    // embedding.
    if (part == "inv_freq" && is_frequencies(tensor.name, spec.num_hidden_layers)) continue;
    if (spec.tie_word_embeddings && name == "lm_head" && of_matrix) continue;
    const auto module = modules.find(name);
    const bool known =
        module != modules.end() &&
        (part == "bias" ? module->second.bias : part == "weight" || (module->second.matrix && of_matrix));
    if (!known) {
      fail("{}: tensor {}: config.json has no place for it: it would be left out of the computation",
           tensor.file->string(), quote(tensor.name));
    }
  }
}

}  // namespace

ModelSpec read_model_spec(const ModelFile& file) {
  const JsonFields config(file.config(), (file.folder() / "config.json").string());
  const JsonFields generation(file.generation_config(), (file.folder() / "generation_config.json").string());
  const Architecture& architecture = find_architecture(config);
  ModelSpec spec;
  spec.model_type = architecture.model_type;
  read_sizes(config, architecture, spec);
  if (const auto act = config.string("hidden_act", "silu"); act != "silu" && act != "swish") {
    config.reject("hidden_act", "expected \"silu\", found " + quote(act));
  }
  spec.rms_norm_eps = static_cast<float>(config.positive("rms_norm_eps", 1e-6));
  if (!(spec.rms_norm_eps > 0 && spec.rms_norm_eps < 1)) {
    config.reject("rms_norm_eps",
                  fmt::format("expected a number between 0 and 1, found {}", spec.rms_norm_eps));
  }
  read_rope(config, spec);
  spec.tie_word_embeddings = config.boolean("tie_word_embeddings", false);
  architecture.read(config, spec);
  read_token_ids(config, generation, spec);
  check_tensors(file, spec);
  return spec;
}

std::vector<LinearShape> layer_linears(const ModelSpec& spec, int64_t layer) {
  const std::string attention = fmt::format("model.layers.{}.self_attn.", layer);
  const std::string mlp = fmt::format("model.layers.{}.mlp.", layer);
  return {
      {attention + "q_proj", spec.q_size(), spec.hidden_size, spec.qkv_bias},
      {attention + "k_proj", spec.kv_size(), spec.hidden_size, spec.qkv_bias},
      {attention + "v_proj", spec.kv_size(), spec.hidden_size, spec.qkv_bias},
      {attention + "o_proj", spec.hidden_size, spec.q_size(), spec.attention_output_bias},
      {mlp + "gate_proj", spec.intermediate_size, spec.hidden_size, spec.mlp_bias},
      {mlp + "up_proj", spec.intermediate_size, spec.hidden_size, spec.mlp_bias},
      {mlp + "down_proj", spec.hidden_size, spec.intermediate_size, spec.mlp_bias},
  };
}

EmbeddingModules embedding_modules(const ModelFile& file, const ModelSpec& spec) {
  const std::string input = "model.embed_tokens", output = "lm_head";
  if (!spec.tie_word_embeddings) return {input, output};
  const std::string& shared = file.has_weight(input) || !file.has_weight(output) ? input : output;
  return {shared, shared};
}

}  // namespace whittle
