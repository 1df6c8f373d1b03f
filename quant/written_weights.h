#pragma once
// A changed model whose floats have the types of the file that it came from: what stays floats, as it will be
// read back.

#include <functional>
#include <vector>

#include "engine/weight_source.h"
#include "kernels/threads.h"

namespace whittle {

class WrittenWeights final : public WeightSource {
 public:
  // weights: the source's modules, of which `changed` says which are no longer those of its files. Both and
  // team must outlive this.
  WrittenWeights(const WeightSource& weights, const FolderWeights& source,
                 std::function<bool(const Module&)> changed, const Team& team)
      : weights_(weights), source_(source), changed_(std::move(changed)), team_(team) {}

  const ModelSpec& spec() const override { return weights_.spec(); }
  const Inventory& inventory() const override { return weights_.inventory(); }
  WeightMatrix matrix(const Module& module) const override;
  std::vector<float> weight_vector(const Module& norm) const override;
  std::vector<float> bias(const Module& module) const override;
  int64_t activation_group_size(const Module& linear) const override {
    return weights_.activation_group_size(linear);
  }
  void release(const WeightMatrix& matrix) const override { weights_.release(matrix); }
  void check_unchanged() const override { weights_.check_unchanged(); }

 private:
  DType dtype(const Module& module, const char* part) const;

  const WeightSource& weights_;
  const FolderWeights& source_;
  const std::function<bool(const Module&)> changed_;
  const Team& team_;
};

}  // namespace whittle
