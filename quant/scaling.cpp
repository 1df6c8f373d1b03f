#include "quant/scaling.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/files/interrupts.h"
#include "engine/files/json_file.h"
#include "kernels/error.h"
#include "quant/float_matrix.h"

namespace whittle {
namespace {

void require_finite(std::span<const float> values, const std::string& tensor) {
  for (const float value : values)
    if (!std::isfinite(value)) fail("tensor {}: scaled, a value is no finite float32", quote(tensor));
}

}  // namespace

bool can_scale(const ModelSpec& spec, Role producer) {
  switch (producer) {
    case Role::attention_norm:
    case Role::mlp_norm:
    case Role::v: return true;
    case Role::up: return spec.gated_mlp;
    default: return false;
  }
}

int64_t scaled_channels(const ModelSpec& spec, int64_t layer, Role producer) {
  return producer == Role::v    ? spec.kv_size(layer)
         : producer == Role::up ? spec.layer(layer).intermediate_size
                                : spec.hidden_size;
}

std::vector<int64_t> input_channels(const ModelSpec& spec, int64_t layer, Role producer) {
  const int64_t inputs = producer == Role::v ? spec.q_size(layer) : scaled_channels(spec, layer, producer);
  std::vector<int64_t> channels(static_cast<size_t>(inputs));
  std::iota(channels.begin(), channels.end(), 0);
  const int64_t group = spec.query_group();
  for (int64_t& channel : channels)
    if (producer == Role::v)
      channel = channel / spec.head_dim / group * spec.head_dim + channel % spec.head_dim;
  return channels;
}

void ScaledWeights::scale(int64_t layer, Role producer, std::vector<float> scales) {
  if (!can_scale(spec(), producer)) fail("the outputs of {} cannot be scaled", info(producer).name);
  if (std::ssize(scales) != scaled_channels(spec(), layer, producer))
    fail("{} of layer {}: expected {} scales, found {}", info(producer).name, layer,
         scaled_channels(spec(), layer, producer), scales.size());
  for (const float scale : scales)
    if (!(scale > 0) || !std::isfinite(scale))
      fail("{} of layer {}: a scale of {}", info(producer).name, layer, scale);
  scales_[{layer, producer}] = std::move(scales);
}

const std::vector<float>* ScaledWeights::find(int64_t layer, Role producer) const {
  const auto found = scales_.find({layer, producer});
  return found == scales_.end() ? nullptr : &found->second;
}

const std::vector<float>* ScaledWeights::of_inputs(const Module& module) const {
  return module.kind() == ModuleKind::linear ? find(module.layer, info(module.role).input) : nullptr;
}

const std::vector<float>* ScaledWeights::of_outputs(const Module& module) const {
  return find(module.layer, module.role == Role::qkv ? Role::v : module.role);
}

bool ScaledWeights::changed(const Module& module) const { return of_inputs(module) || of_outputs(module); }

// values [outputs, ..]: of a norm, its channels.
void ScaledWeights::divide_outputs(const Module& module, std::vector<float>& values) const {
  const std::vector<float>* scales = of_outputs(module);
  if (!scales) return;
  std::vector<int64_t> rows(scales->size());
  std::iota(rows.begin(), rows.end(), 0);
  if (module.role == Role::qkv) rows = fused_rows(spec(), module.layer, Role::v);
  for (size_t i = 0; i < rows.size(); ++i) values[static_cast<size_t>(rows[i])] /= (*scales)[i];
}

WeightMatrix ScaledWeights::matrix(const Module& module) const {
  WeightMatrix weights = source_.matrix(module);
  if (!changed(module)) return weights;
  std::vector<float> of_columns, of_rows(static_cast<size_t>(module.rows), 1.0f);
  if (const std::vector<float>* scales = of_inputs(module))
    for (const int64_t channel : input_channels(spec(), module.layer, info(module.role).input))
      of_columns.push_back((*scales)[static_cast<size_t>(channel)]);
  divide_outputs(module, of_rows);

  FloatMatrix scaled(module.rows, module.cols);
  team_.for_each(module.rows, [&](int64_t row) {
    if (interrupted()) return;
    float* out = scaled.row(row);
    weights.decode_row(row, out);
    for (int64_t k = 0; k < module.cols; ++k) out[k] *= of_rows[static_cast<size_t>(row)];
    for (size_t k = 0; k < of_columns.size(); ++k) out[k] *= of_columns[k];
  });
  check_interrupted();
  source_.release(weights);
  return scaled.take(module.name + ".weight");
}

std::vector<float> ScaledWeights::weight_vector(const Module& norm) const {
  std::vector<float> weight = source_.weight_vector(norm);
  divide_outputs(norm, weight);
  require_finite(weight, norm.name + ".weight");
  return weight;
}

std::vector<float> ScaledWeights::bias(const Module& module) const {
  std::vector<float> bias = source_.bias(module);
  divide_outputs(module, bias);
  require_finite(bias, module.name + ".bias");
  return bias;
}

}  // namespace whittle
