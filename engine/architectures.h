#pragma once
// The decoders that the engine runs, one row each: what config.json may say, and what it leaves out.

#include <cstdint>
#include <span>
#include <string_view>

#include "engine/files/json_file.h"
#include "engine/model_spec.h"

namespace whittle {

struct Architecture {
  std::string_view name;  // in "architectures"
  std::string_view model_type;
  // Taken where config.json leaves the field out, as Hugging Face does.
  int64_t num_key_value_heads;  // 0: num_attention_heads
  int64_t head_dim;             // 0: hidden_size / num_attention_heads
  int64_t max_position_embeddings;
  // Sets what is this architecture's own from the fields below; sizes are there already.
  void (*read)(const JsonFields& config, ModelSpec& spec);
  std::span<const std::string_view> fields;
};

// The architecture that config.json names. Throws Error for an unknown one and for a field that
// `architecture` does not honour and that is not known to leave the computation as it is.
const Architecture& find_architecture(const JsonFields& config);

}  // namespace whittle
