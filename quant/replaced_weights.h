#pragma once
// A model of which some matrices and norms were changed in memory.

#include <map>
#include <string>
#include <vector>

#include "engine/weight_source.h"

namespace whittle {

class ReplacedWeights final : public WeightSource {
 public:
  // `source` must outlive this.
  explicit ReplacedWeights(const WeightSource& source) : source_(source) {}

  // The weight of a norm.
  void replace_norm(const std::string& norm, std::vector<float> weight) { norms_[norm] = std::move(weight); }

  struct Replacement {
    WeightMatrix matrix;  // owns its codes
    int64_t activation_group_size = 0;
  };
  void replace(const std::string& module, Replacement replacement) {
    replaced_[module] = std::move(replacement);
  }
  void restore(const std::string& module) { replaced_.erase(module); }

  const ModelSpec& spec() const override { return source_.spec(); }
  const Inventory& inventory() const override { return source_.inventory(); }
  WeightMatrix matrix(const Module& module) const override {
    const auto found = replaced_.find(module.name);
    return found == replaced_.end() ? source_.matrix(module) : found->second.matrix;
  }
  std::vector<float> weight_vector(const Module& norm) const override {
    const auto found = norms_.find(norm.name);
    return found == norms_.end() ? source_.weight_vector(norm) : found->second;
  }
  std::vector<float> bias(const Module& module) const override { return source_.bias(module); }
  int64_t activation_group_size(const Module& linear) const override {
    const auto found = replaced_.find(linear.name);
    return found == replaced_.end() ? source_.activation_group_size(linear)
                                    : found->second.activation_group_size;
  }
  void release(const WeightMatrix& matrix) const override { source_.release(matrix); }
  void check_unchanged() const override { source_.check_unchanged(); }

 private:
  const WeightSource& source_;
  std::map<std::string, Replacement> replaced_;
  std::map<std::string, std::vector<float>> norms_;
};

}  // namespace whittle
