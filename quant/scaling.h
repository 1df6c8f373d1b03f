#pragma once
// A model whose channels have other sizes: what a norm or a linear puts out is divided channel by channel,
// and what reads it multiplies its columns by the same numbers. The function stays; weights of the channels
// that matter become larger than the others of their group and lose less by rounding (AWQ, arXiv 2306.00978),
// or activations lose their outliers to the weights (SmoothQuant, 2211.10438). All of it offline.

#include <cstdint>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "engine/weight_source.h"
#include "kernels/threads.h"

namespace whittle {

// Whose channels can be scaled, in each layer: those of attention_norm (for q, k and v), mlp_norm (gate, up),
// v (o: query heads that share a key/value head share its scales) and up (down). Not up in a plain MLP: an
// activation stands between.
bool can_scale(const ModelSpec& spec, Role producer);
int64_t scaled_channels(const ModelSpec& spec, int64_t layer, Role producer);
// Of every input of the producer's readers, the channel that it comes from.
std::vector<int64_t> input_channels(const ModelSpec& spec, int64_t layer, Role producer);

class ScaledWeights final : public WeightSource {
 public:
  // Source and team must outlive this.
  ScaledWeights(const WeightSource& source, const Team& team) : source_(source), team_(team) {}

  // Channel c of `producer` in `layer` leaves it divided by scales[c] and enters its readers multiplied by
  // it. Throws Error unless can_scale, and scales are so many, finite and positive.
  void scale(int64_t layer, Role producer, std::vector<float> scales);

  // Whether weight or bias differ from the source's.
  bool changed(const Module& module) const;

  const ModelSpec& spec() const override { return source_.spec(); }
  const Inventory& inventory() const override { return source_.inventory(); }
  // Changed ones are float32, made anew at every call: memory for one matrix. Throws Error that names the
  // tensor where a value leaves float32.
  WeightMatrix matrix(const Module& module) const override;
  std::vector<float> weight_vector(const Module& norm) const override;
  std::vector<float> bias(const Module& module) const override;
  int64_t activation_group_size(const Module& linear) const override {
    return source_.activation_group_size(linear);
  }
  void release(const WeightMatrix& matrix) const override { source_.release(matrix); }
  void check_unchanged() const override { source_.check_unchanged(); }

 private:
  const std::vector<float>* find(int64_t layer, Role producer) const;
  const std::vector<float>* of_inputs(const Module& module) const;
  const std::vector<float>* of_outputs(const Module& module) const;
  void divide_outputs(const Module& module, std::vector<float>& values) const;

  const WeightSource& source_;
  const Team& team_;
  std::map<std::pair<int64_t, Role>, std::vector<float>> scales_;
};

}  // namespace whittle
