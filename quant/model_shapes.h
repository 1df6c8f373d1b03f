#pragma once
// The shapes of well-known models, as their config.json gives them.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>

#include "engine/files/safetensors.h"

namespace whittle {

struct ModelShape {
  std::string_view name;
  std::string_view architecture;  // as in config.json
  std::string_view model_type;
  int64_t hidden_size, intermediate_size, num_hidden_layers, num_attention_heads, num_key_value_heads,
      head_dim;
  int64_t vocab_size, max_position_embeddings;
  double rope_theta, norm_eps;
  bool tied;
};

std::span<const ModelShape> model_shapes();
// nullptr where there is none of that name.
const ModelShape* find_shape(std::string_view name);
// A config.json of that shape, with weights in `dtype`: F16 or BF16.
nlohmann::json shape_config(const ModelShape& shape, DType dtype);

}  // namespace whittle
