#pragma once
// What tests of tuning start from: tiny models whose vocabulary has 40 ids, and INT4 to round them to.

#include <filesystem>

#include "engine/files/quantization_config.h"
#include "tests/support/tiny_families.h"

namespace whittle::test {

inline void write_model_to_tune(const std::filesystem::path& folder, bool bloom) {
  if (bloom)
    write_family(folder, {.gpt2 = false, .vocab = 40});
  else
    write_tiny_model(folder, {.hidden_size = 64,
                              .intermediate_size = 72,
                              .num_attention_heads = 4,
                              .num_key_value_heads = 2,
                              .head_dim = 16,
                              .vocab_size = 40,
                              .dtype = "F16"});
}

inline QuantizationScheme int4_in_groups(bool symmetric) {
  QuantizationScheme scheme;
  scheme.format = WeightFormat::int4;
  scheme.strategy = ScaleStrategy::group;
  scheme.group_size = 32;
  scheme.symmetric = symmetric;
  return scheme;
}

}  // namespace whittle::test
