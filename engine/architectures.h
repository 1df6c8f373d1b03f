#pragma once
// The decoders that the engine runs, one row each: what config.json may say, what it leaves out, and how the
// files name their modules.

#include <cstdint>
#include <functional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/files/json_file.h"
#include "engine/inventory.h"
#include "engine/model_spec.h"

namespace whittle {

// A config field by another name than most use: {"hidden_size", "n_embd"}. Either may stand.
using FieldAlias = std::pair<std::string_view, std::string_view>;

// What all architectures of a family share.
struct Family {
  ModuleNames names;
  std::span<const std::string_view> fields;  // of config.json that every one of them honours or may ignore
  std::span<const FieldAlias> aliases;
  // Tensors of a layer, or of the model, that stand for what we compute: "attn.bias", GPT-2's causal mask.
  std::span<const std::string_view> buffers;
};

// Taken where config.json leaves the field out, as Hugging Face does.
struct ConfigDefaults {
  int64_t max_position_embeddings = 2048;
  int64_t num_key_value_heads = 0;  // 0: num_attention_heads
  int64_t head_dim = 0;             // 0: hidden_size / num_attention_heads
  int64_t intermediate_factor = 0;  // times hidden_size; 0: there is no default
  bool tie_word_embeddings = false;
};

struct Architecture {
  std::string_view name;  // in "architectures"
  std::string_view model_type;
  ConfigDefaults defaults;
  // Sets what is this architecture's own from its fields; sizes are there already.
  void (*read)(const JsonFields& config, ModelSpec& spec);
  std::span<const std::string_view> fields;  // beyond the family's
  const Family& family;
};

// Throws Error where config.json names no architecture of ours, or has a field that the one it names does not
// honour and that is not known to leave the computation as it is.
const Architecture& find_architecture(const JsonFields& config);
// The one of a spec that was read.
const Architecture& find_architecture(std::string_view model_type);
// config.json with every alias under its common name. Throws Error where the two differ.
nlohmann::json with_common_names(const JsonFields& config, const Architecture& architecture);
// The fields that stand in config.json, or may, under an alias: common name to alias.
FieldNames alias_names(const JsonFields& config, const Architecture& architecture);

// What any family calls an embedding, with and without `base`.
std::vector<std::string> embedding_names();
// The names of a model's buffers, such as "transformer.h.0.attn.bias".
std::set<std::string, std::less<>> buffer_names(const ModelSpec& spec);

}  // namespace whittle
