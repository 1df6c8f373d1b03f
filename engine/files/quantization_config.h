#pragma once
// The `quantization_config` of config.json: which module is stored how. Read in the conventions of
// compressed-tensors, GPTQ and AWQ; written in those of compressed-tensors.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/files/name_pattern.h"
#include "kernels/weight_format.h"

namespace whittle {

class JsonFields;

enum class ScaleStrategy : uint8_t { tensor, channel, group };

// In which tensors, and in what order, the codes of a module lie. Described where they are read:
// compressed_tensors.h, gptq.h, awq.h, sparse_codes.h.
enum class CodeLayout : uint8_t {
  native,  // as we write it. int8: "int-quantized", a code a byte; others: "pack-quantized", a stream of bits
  words,   // int8 as "pack-quantized": four codes to a 32-bit word
  gptq_v1,       // zero points stored less one
  gptqmodel_v1,  // the same, taken from whole words
  gptq_v2,
  awq,
  bitmask,  // codes that stand for zero left out
};

// How the tensor "weight" of a module is stored: whole, or in a form of bitmask.h.
enum class SparseStorage : uint8_t { none, bitmask, bitmask_24 };

struct QuantizationScheme {
  WeightFormat format = WeightFormat::int8;
  CodeLayout layout = CodeLayout::native;
  // What shares a scale: the matrix, a row, or group_size inputs of a row.
  ScaleStrategy strategy = ScaleStrategy::channel;
  int64_t group_size = 0;              // 0 unless `group`; the last group of a row may be shorter
  bool symmetric = true;               // no zero points
  bool permuted = false;               // GPTQ: only g_idx says to which group an input belongs
  bool quantized_activations = false;  // inputs to int8, symmetric, at run time
  int64_t activation_group_size = 0;   // inputs that share a scale; 0: all of a token

  bool operator==(const QuantizationScheme&) const = default;
};

struct QuantizationTarget {
  NamePattern pattern;
  QuantizationScheme scheme;
};

class QuantizationConfig {
 public:
  QuantizationConfig() = default;  // nothing is quantized
  // `what` names the file and field in errors. Throws Error for everything that we do not honour: other
  // methods, formats, bits and float types, static or asymmetric activations, a quantized KV cache, other
  // sparse forms.
  QuantizationConfig(const nlohmann::json& quantization_config, const std::string& what);

  // nullptr when the module is stored as floats. (GPTQ and AWQ leave it to the tensors: ModelFile asks them.)
  // Where several targets match, a name goes before a regular expression and that before a class; among
  // regular expressions the first in alphabetical order counts.
  const QuantizationScheme* find(std::string_view module) const;
  // In what form the "weight" of the module is, if it is sparse; only its tensors say that.
  SparseStorage sparse_storage(std::string_view module) const;
  // Whether linears with quantized weights are meant to read float inputs.
  bool asks_for_float_inputs() const;

 private:
  void read_compressed_tensors(const JsonFields& fields);
  void read_groups(const JsonFields& fields);
  void read_sparsity(const JsonFields& sparsity_config);

  std::vector<QuantizationTarget> targets_;  // in order of precedence
  std::vector<NamePattern> ignore_;
  SparseStorage sparse_storage_ = SparseStorage::none;
  std::vector<NamePattern> sparse_targets_, sparse_ignore_;
};

struct QuantizedModule {
  std::string name;
  QuantizationScheme scheme;
};

// Modules whose "weight" is stored in a sparse form.
struct SparseModules {
  SparseStorage storage = SparseStorage::none;
  std::vector<std::string> names;
};

// The quantization_config that reads back to exactly `modules` and `sparse`. `ignore` names every linear
// module that stays as it was, and "lm_head" too where the tied embedding stands for it.
nlohmann::ordered_json quantization_config_json(std::span<const QuantizedModule> modules,
                                                std::span<const std::string> ignore,
                                                const SparseModules& sparse = {});

}  // namespace whittle
