#pragma once
// A Hugging Face folder of a real model's shape with random weights: speed needs no download.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

#include "engine/files/safetensors.h"
#include "kernels/threads.h"

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

// Writes config.json and model.safetensors; weights are normal-like with a standard deviation of 0.02, the
// same for every run and number of threads. There is no tokenizer. dtype: F16 or BF16. Throws Error for an
// unknown shape (naming the known ones) or when `out` exists; a run that fails leaves nothing.
void synthesize(std::string_view shape, const std::filesystem::path& out, DType dtype, const Team& team,
                const std::function<void(int64_t done, int64_t total)>& progress);

}  // namespace whittle
