#pragma once
// Random weights in memory, made when they are asked for: a model of any shape and format, without files.

#include <vector>

#include "bench/estimate/stored_model.h"
#include "engine/weight_source.h"

namespace whittle {

// Speed does not depend on what weights say, so that a short stretch of random ones is repeated. Norms are
// ones, biases zeros.
class MadeUpWeights final : public WeightSource {
 public:
  explicit MadeUpWeights(const StoredModel& model);

  const ModelSpec& spec() const override { return model_.spec(); }
  const Inventory& inventory() const override { return model_.inventory(); }
  WeightMatrix matrix(const Module& module) const override;
  std::vector<float> weight_vector(const Module& norm) const override;
  std::vector<float> bias(const Module& module) const override;
  int64_t activation_group_size(const Module& linear) const override;
  void release(const WeightMatrix&) const override {}
  void check_unchanged() const override {}

 private:
  const std::vector<std::byte>& stretch(WeightFormat format) const;

  StoredModel model_;
  std::vector<std::byte> floats_, codes_;
};

}  // namespace whittle
