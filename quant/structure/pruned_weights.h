#pragma once
// The smaller model in memory: a source's weights without what was left out, some of them fitted anew.

#include <map>
#include <string>
#include <vector>

#include "engine/weight_source.h"
#include "kernels/threads.h"
#include "quant/structure/structure.h"

namespace whittle {

// Of one layer, ascending, as they are numbered in the source.
struct KeptParts {
  std::vector<int64_t> neurons;   // outputs of gate and up, inputs of down
  std::vector<int64_t> kv_heads;  // key/value heads, each with the query heads that read it
};

class PrunedWeights final : public WeightSource {
 public:
  // Keeps the first parts of each layer. The source's matrices are floats; it and team must outlive this.
  // Throws Error as check_kept.
  PrunedWeights(const FolderWeights& source, Shapes shapes, const Team& team);

  const Shapes& shapes() const { return shapes_; }
  const nlohmann::json& config() const { return config_; }
  // Keeps others of that layer, as many.
  void keep(int64_t source_layer, KeptParts parts);
  const KeptParts& kept(int64_t source_layer) const { return kept_[static_cast<size_t>(source_layer)]; }
  // Where a layer of the source is in this model; −1: nowhere.
  int64_t layer_of(int64_t source_layer) const { return places_[static_cast<size_t>(source_layer)]; }
  // The module of the source that one of this model was.
  const Module& origin(const Module& module) const;

  // Other values for a linear [rows, cols] of this model, and what is added to its bias where it has one.
  // They are rounded to the types that the files have. Throws Error that names the tensor where one is not
  // finite then.
  void replace(const Module& module, std::span<const float> weights, std::span<const float> bias_change);

  const ModelSpec& spec() const override { return spec_; }
  const Inventory& inventory() const override { return inventory_; }
  WeightMatrix matrix(const Module& module) const override;
  std::vector<float> weight_vector(const Module& norm) const override;
  std::vector<float> bias(const Module& module) const override;
  int64_t activation_group_size(const Module& linear) const override {
    return source_.activation_group_size(origin(linear));
  }
  void release(const WeightMatrix& matrix) const override { source_.release(matrix); }
  void check_unchanged() const override { source_.check_unchanged(); }

 private:
  std::vector<int64_t> kept_rows(const Module& module) const;
  std::vector<int64_t> kept_cols(const Module& module) const;

  const FolderWeights& source_;
  const Shapes shapes_;
  const nlohmann::json config_;
  const ModelSpec spec_;
  const Inventory inventory_;
  const Team& team_;
  std::vector<KeptParts> kept_;
  std::vector<int64_t> origins_, places_;  // layers of the source by ours, and the other way
  std::map<std::string, WeightMatrix> matrices_;
  std::map<std::string, std::vector<float>> biases_;
};

// The inputs of a layer's o or down that are kept.
std::vector<int64_t> kept_inputs(const ModelSpec& spec, const KeptParts& layer, Role reader);

}  // namespace whittle
