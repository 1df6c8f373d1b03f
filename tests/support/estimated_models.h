#pragma once
// Specs of every family, and ways to store them, for tests of what is said of models that do not exist.

#include <nlohmann/json.hpp>
#include <vector>

#include "bench/estimate/stored_model.h"
#include "engine/model_spec.h"
#include "tests/support/tiny_families.h"
#include "tests/support/tiny_model.h"

namespace whittle::test {

inline std::vector<ModelSpec> small_specs() {
  std::vector<ModelSpec> specs;
  const nlohmann::json none = nlohmann::json::object();
  for (const char* architecture :
       {"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"})
    for (const bool tied : {false, true}) {
      const TinyModel tiny{.architecture = architecture,
                           .hidden_size = 72,
                           .intermediate_size = 136,
                           .num_attention_heads = 4,
                           .num_key_value_heads = 2,
                           .head_dim = 16,
                           .vocab_size = 100,
                           .tied = tied};
      specs.push_back(read_config(nlohmann::json::parse(config_of(tiny).dump()), none, "tiny"));
    }
  for (const bool gpt2 : {false, true})
    specs.push_back(read_config(config_of(TinyFamily{.gpt2 = gpt2}), none, "tiny"));
  // Layers that differ, one without an MLP.
  ModelSpec uneven = specs.front();
  uneven.layers = {{136, 1}, {0, 2}};
  specs.push_back(uneven);
  return specs;
}

inline QuantizationScheme scheme_of(WeightFormat format, int64_t group_size) {
  QuantizationScheme scheme;
  scheme.format = format;
  scheme.strategy = group_size ? ScaleStrategy::group : ScaleStrategy::channel;
  scheme.group_size = scheme.activation_group_size = group_size;
  scheme.quantized_activations = true;
  return scheme;
}

inline std::vector<StorageChoice> some_choices() {
  const QuantizationScheme row = scheme_of(WeightFormat::int8, 0);
  QuantizationScheme head = row;
  head.activation_group_size = 32;
  return {{"f16"},
          {"bf16", WeightFormat::bf16},
          {"f32", WeightFormat::f32},
          {"int8", WeightFormat::f16, row},
          {"int8 of all", WeightFormat::f16, row, row, head},
          {"int8 g64", WeightFormat::f16, scheme_of(WeightFormat::int8, 64)},
          {"int6 g64", WeightFormat::bf16, scheme_of(WeightFormat::int6, 64), row},
          {"int5 g32",
           WeightFormat::f16,
           scheme_of(WeightFormat::int5, 32),
           {},
           scheme_of(WeightFormat::int5, 32)},
          {"int4 g32", WeightFormat::f16, scheme_of(WeightFormat::int4, 32), row, head},
          {"int4 g128", WeightFormat::f16, scheme_of(WeightFormat::int4, 128)}};
}

}  // namespace whittle::test
