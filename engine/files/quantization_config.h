#pragma once
// The `quantization_config` of config.json in the compressed-tensors conventions: which module is stored how.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/files/name_pattern.h"
#include "kernels/weight_format.h"

namespace whittle {

enum class ScaleStrategy : uint8_t { tensor, channel, group };

struct QuantizationScheme {
  // int8: "int-quantized", one code a byte. int4: "pack-quantized", eight codes to a 32-bit word.
  WeightFormat format = WeightFormat::int8;
  // What shares a scale: the matrix, a row, or group_size inputs of a row.
  ScaleStrategy strategy = ScaleStrategy::channel;
  int64_t group_size = 0;              // 0 unless `group`; the last group of a row may be shorter
  bool symmetric = true;               // no zero points
  bool quantized_activations = false;  // inputs to int8, symmetric, at run time
  int64_t activation_group_size = 0;   // inputs that share a scale; 0: all of a token

  bool operator==(const QuantizationScheme&) const = default;
};

class QuantizationConfig {
 public:
  QuantizationConfig() = default;  // nothing is quantized
  // `what` names the file and field in errors. Throws Error for everything that we do not honour: other
  // methods, formats, bits and float types, static or asymmetric activations, a quantized KV cache, sparsity.
  QuantizationConfig(const nlohmann::json& quantization_config, const std::string& what);

  // nullptr when the module is stored as floats. Where several targets match, a name goes before a regular
  // expression and that before a class; among regular expressions the first in alphabetical order counts.
  const QuantizationScheme* find(std::string_view module) const;
  // Whether linears with quantized weights are meant to read float inputs.
  bool asks_for_float_inputs() const;

 private:
  struct Target {
    NamePattern pattern;
    QuantizationScheme scheme;
  };
  std::vector<Target> targets_;  // in order of precedence
  std::vector<NamePattern> ignore_;
};

struct QuantizedModule {
  std::string name;
  QuantizationScheme scheme;
};

// The quantization_config that reads back to exactly `modules`. `ignore` names every linear module that stays
// as it was, and "lm_head" too where the tied embedding stands for it.
nlohmann::ordered_json quantization_config_json(std::span<const QuantizedModule> modules,
                                                std::span<const std::string> ignore);

}  // namespace whittle
