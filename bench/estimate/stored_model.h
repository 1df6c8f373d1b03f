#pragma once
// A model that need not exist: a spec, and how each of its matrices would be stored and packed.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/files/quantization_config.h"
#include "engine/inventory.h"
#include "engine/model_spec.h"
#include "kernels/kv_format.h"
#include "kernels/packed_weight.h"

namespace whittle {

// What a model's matrices are stored as: one column of an estimate.
struct StorageChoice {
  std::string name;                                            // "int4 g128"
  WeightFormat floats = WeightFormat::f16;                     // of all that is not quantized
  std::optional<QuantizationScheme> linears, embedding, head;  // unset: floats; symmetric
};

class StoredModel {
 public:
  // A tied matrix whose two uses are stored differently becomes two.
  StoredModel(const ModelSpec& spec, const StorageChoice& choice);

  const ModelSpec& spec() const { return spec_; }
  const StorageChoice& choice() const { return choice_; }
  const Inventory& inventory() const { return inventory_; }

  // nullptr: floats.
  const QuantizationScheme* scheme(const Module& module) const;
  // Whether it is packed to be multiplied by: a linear, or the head.
  bool multiplied(const Module& module) const;
  // How such a module is packed: one weight, or three of a fused q, k and v.
  std::vector<PackedLayout> packed(const Module& module) const;
  // Inputs that share an activation scale, as its file asks: 0: one scale a token.
  int64_t asked_activation_group(const Module& module) const;

  // Bytes in the files of a module's matrix or vector, of its bias, and of all modules.
  int64_t file_bytes(const Module& module) const;
  int64_t file_bias_bytes(const Module& module) const;
  int64_t file_bytes() const;

  // As of a `Model`: bytes of packed weights, biases, norms and learned positions; bytes of weights that a
  // decode step reads; multiply-accumulates a token, without the head, of all linears and of those whose
  // inputs are int8; every activation group size that a linear asks for.
  int64_t weight_bytes() const { return weight_bytes_; }
  int64_t decode_bytes() const { return decode_bytes_; }
  int64_t macs() const { return macs_; }
  int64_t int8_macs() const { return int8_macs_; }
  const std::vector<int64_t>& activation_group_sizes() const { return group_sizes_; }
  // What loading this module leaves in memory for good.
  int64_t kept_bytes(const Module& module) const;

 private:
  ModelSpec spec_;
  StorageChoice choice_;
  Inventory inventory_;
  int64_t weight_bytes_ = 0, decode_bytes_ = 0, macs_ = 0, int8_macs_ = 0;
  std::vector<int64_t> group_sizes_;
};

}  // namespace whittle
