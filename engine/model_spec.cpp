#include "engine/model_spec.h"

#include <algorithm>
#include <map>

#include "engine/architectures.h"
#include "engine/families/fields.h"
#include "engine/files/float_tensor.h"
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

void read_sizes(const JsonFields& config, const ConfigDefaults& defaults, ModelSpec& spec) {
  spec.hidden_size = config.integer("hidden_size", 1, max_hidden);
  std::optional<int64_t> inner;
  if (defaults.intermediate_factor) inner = defaults.intermediate_factor * spec.hidden_size;
  spec.intermediate_size = config.integer("intermediate_size", 1, max_intermediate, inner);
  spec.num_hidden_layers = config.integer("num_hidden_layers", 1, max_layers);
  spec.vocab_size = config.integer("vocab_size", 1, max_vocab);
  spec.max_position_embeddings =
      config.integer("max_position_embeddings", 1, max_positions, defaults.max_position_embeddings);
  const int64_t heads = spec.num_attention_heads = config.integer("num_attention_heads", 1, max_heads);

  // Null means as many as query heads; left out means the architecture's default.
  const bool left_out = !config.object().contains("num_key_value_heads");
  const int64_t default_heads =
      left_out && defaults.num_key_value_heads ? defaults.num_key_value_heads : heads;
  spec.num_key_value_heads = config.integer("num_key_value_heads", 1, heads, default_heads);
  if (spec.num_key_value_heads > heads || heads % spec.num_key_value_heads != 0) {
    config.reject("num_key_value_heads", fmt::format("{} does not divide num_attention_heads = {}",
                                                     spec.num_key_value_heads, heads));
  }

  if (config.has("head_dim") || defaults.head_dim) {
    spec.head_dim = config.integer("head_dim", 1, max_head_dim, defaults.head_dim);
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

// ALiBi's slopes are those of so many heads, and say nothing of a layer that has lost some.
void read_layers(const JsonFields& config, ModelSpec& spec) {
  if (!config.has(layer_shapes_field)) return;
  const nlohmann::json& layers = config.at(layer_shapes_field);
  if (!layers.is_array() || std::ssize(layers) != spec.num_hidden_layers)
    config.reject(layer_shapes_field,
                  fmt::format("expected an array of num_hidden_layers = {} objects", spec.num_hidden_layers));
  for (const nlohmann::json& json : layers) {
    const JsonFields layer(json, fmt::format("{}: field \"{}\": layer {}", config.what(), layer_shapes_field,
                                             spec.layers.size()));
    const LayerShape shape = {layer.integer("intermediate_size", 0, spec.intermediate_size),
                              layer.integer("num_key_value_heads", 0, spec.num_key_value_heads)};
    if (shape == LayerShape{}) layer.reject("num_key_value_heads", "neither attention nor an MLP is left");
    if (spec.positions == Positions::alibi && shape.num_key_value_heads % spec.num_key_value_heads != 0)
      layer.reject(
          "num_key_value_heads",
          fmt::format("expected 0 or {}: ALiBi's slopes are those of all heads", spec.num_key_value_heads));
    for (const auto& [name, value] : layer.object().items())
      if (name != "intermediate_size" && name != "num_key_value_heads")
        layer.reject(name.c_str(), "unknown for a layer");
    spec.layers.push_back(shape);
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

// GPTQ's writers may give every linear a bias, of zeros where the model has none.
bool is_zero(const TensorView& tensor) {
  return float_format(tensor.dtype) &&
         std::ranges::all_of(read_floats(tensor), [](float value) { return value == 0; });
}

bool has_part(const ModelFile& file, const std::string& module, std::string_view part) {
  return std::ranges::find(file.parts(module), part) != file.parts(module).end();
}

// A tensor that the model has no place for, such as a bias that config.json does not mention, would be left
// out of the computation in silence.
void check_tensors(const ModelFile& file, const ModelSpec& spec) {
  const Inventory inventory = inventory_of(file, spec);
  std::map<std::string_view, const Module*> modules;
  for (const Module& module : inventory.modules()) {
    modules[module.name] = &module;
    if (module.matrix() ? !file.has_weight(module.name) : !file.find(module.name + ".weight"))
      file.get(module.name + ".weight");
    if (module.bias) file.get(module.name + ".bias");
  }
  const auto buffers = buffer_names(spec);
  for (const TensorView& tensor : file.tensors()) {
    const std::string_view whole = tensor.name;
    const size_t dot = std::min(whole.rfind('.'), whole.size() - 1);
    const std::string name(whole.substr(0, dot));
    const std::string_view part = whole.substr(dot + 1);
    const bool shared = name == inventory.embedding_name() || name == inventory.head_name();
    if (buffers.contains(whole) || (inventory.tied() && shared && has_part(file, name, part))) continue;
    const auto found = modules.find(name);
    const Module* module = found == modules.end() ? nullptr : found->second;
    const bool known =
        module && (part == "bias"     ? module->bias || (file.is_quantized(name) && is_zero(tensor))
                   : module->matrix() ? has_part(file, name, part)
                                      : part == "weight");
    if (!known) {
      fail("{}: tensor {}: config.json has no place for it: it would be left out of the computation",
           tensor.file->string(), quote(tensor.name));
    }
  }
}

}  // namespace

ModelSpec read_config(const nlohmann::json& config, const nlohmann::json& generation,
                      const std::filesystem::path& folder) {
  return read_config(JsonFields(config, (folder / "config.json").string()),
                     JsonFields(generation, (folder / "generation_config.json").string()));
}

ModelSpec read_config(const JsonFields& as_written, const JsonFields& generation) {
  const Architecture& architecture = find_architecture(as_written);
  const nlohmann::json named = with_common_names(as_written, architecture);
  const JsonFields config(named, as_written.what(), alias_names(as_written, architecture));
  ModelSpec spec;
  spec.model_type = architecture.model_type;
  read_sizes(config, architecture.defaults, spec);
  spec.tie_word_embeddings = config.boolean("tie_word_embeddings", architecture.defaults.tie_word_embeddings);
  architecture.read(config, spec);
  read_layers(config, spec);
  read_token_ids(config, generation, spec);
  return spec;
}

ModelSpec read_model_spec(const ModelFile& file) {
  ModelSpec spec = read_config(file.config(), file.generation_config(), file.folder());
  check_tensors(file, spec);
  return spec;
}

}  // namespace whittle
