#include "quant/structure/pruned_weights.h"

#include <cmath>
#include <cstring>
#include <numeric>

#include "engine/files/float_tensor.h"
#include "engine/files/json_file.h"
#include "kernels/error.h"

namespace whittle {
namespace {

std::vector<int64_t> first(int64_t count) {
  std::vector<int64_t> all(static_cast<size_t>(count));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

// Runs of `width` values each.
std::vector<int64_t> spread(const std::vector<int64_t>& blocks, int64_t width) {
  std::vector<int64_t> values;
  for (const int64_t block : blocks)
    for (int64_t i = 0; i < width; ++i) values.push_back(block * width + i);
  return values;
}

std::vector<float> taken(const std::vector<float>& values, const std::vector<int64_t>& kept) {
  std::vector<float> out;
  for (const int64_t index : kept) out.push_back(values[static_cast<size_t>(index)]);
  return out;
}

WeightMatrix take_cols(const WeightMatrix& matrix, const std::vector<int64_t>& cols, const Team& team) {
  WeightMatrix out{.format = matrix.format, .rows = matrix.rows, .cols = std::ssize(cols)};
  const int64_t from = row_bytes(matrix.format, matrix.cols), to = row_bytes(out.format, out.cols),
                size = row_bytes(out.format, 1);
  std::vector<std::byte> bytes(static_cast<size_t>(out.rows * to));
  team.for_each(out.rows, [&](int64_t row) {
    for (size_t k = 0; k < cols.size(); ++k)
      std::memcpy(bytes.data() + row * to + static_cast<int64_t>(k) * size,
                  matrix.codes.data() + row * from + cols[k] * size, static_cast<size_t>(size));
  });
  return with_codes(std::move(out), std::move(bytes));
}

void require_finite(std::span<const float> values, const std::string& tensor) {
  for (const float value : values)
    if (!std::isfinite(value)) fail("tensor {}: fitted, a value is beyond its type", quote(tensor));
}

}  // namespace

PrunedWeights::PrunedWeights(const FolderWeights& source, Shapes shapes, const Team& team)
    : source_(source),
      shapes_(std::move(shapes)),
      config_(pruned_config(source, shapes_)),
      spec_(read_config(config_, source.file().generation_config(), source.file().folder())),
      inventory_(inventory_of(source.file(), spec_)),
      team_(team) {
  for (const LayerShape& shape : shapes_) {
    const bool none = shape == LayerShape{};
    places_.push_back(none ? -1 : std::ssize(origins_));
    if (!none) origins_.push_back(std::ssize(kept_));
    kept_.push_back({first(shape.intermediate_size), first(shape.num_key_value_heads)});
  }
}

void PrunedWeights::keep(int64_t source_layer, KeptParts parts) {
  KeptParts& kept = kept_[static_cast<size_t>(source_layer)];
  if (parts.neurons.size() != kept.neurons.size() || parts.kv_heads.size() != kept.kv_heads.size())
    fail("layer {}: {} neurons and {} key/value heads are kept, not {} and {}", source_layer,
         kept.neurons.size(), kept.kv_heads.size(), parts.neurons.size(), parts.kv_heads.size());
  kept = std::move(parts);
}

const Module& PrunedWeights::origin(const Module& module) const {
  const Inventory& inventory = source_.inventory();
  return module.layer < 0 ? *inventory.find(module.name)
                          : *inventory.find(origins_[static_cast<size_t>(module.layer)], module.role);
}

std::vector<int64_t> kept_inputs(const ModelSpec& spec, const KeptParts& layer, Role reader) {
  return reader == Role::down ? layer.neurons : spread(layer.kv_heads, spec.query_group() * spec.head_dim);
}

std::vector<int64_t> PrunedWeights::kept_cols(const Module& module) const {
  if (module.role != Role::o && module.role != Role::down) return {};
  return kept_inputs(source_.spec(), kept(origin(module).layer), module.role);
}

std::vector<int64_t> PrunedWeights::kept_rows(const Module& module) const {
  if (module.layer < 0) return {};
  const KeptParts& parts = kept(origin(module).layer);
  const ModelSpec& spec = source_.spec();
  const std::vector<int64_t> queries = kept_inputs(spec, parts, Role::o),
                             keys = spread(parts.kv_heads, spec.head_dim);
  switch (module.role) {
    case Role::q: return queries;
    case Role::k:
    case Role::v: return keys;
    case Role::gate:
    case Role::up: return parts.neurons;
    case Role::qkv: break;
    default: return {};
  }
  std::vector<int64_t> rows(static_cast<size_t>(module.rows));
  for (const Role part : {Role::q, Role::k, Role::v}) {
    const std::vector<int64_t> to = fused_rows(spec_, module.layer, part),
                               from = fused_rows(spec, origin(module).layer, part);
    const std::vector<int64_t>& kept_of_part = part == Role::q ? queries : keys;
    for (size_t i = 0; i < to.size(); ++i)
      rows[static_cast<size_t>(to[i])] = from[static_cast<size_t>(kept_of_part[i])];
  }
  return rows;
}

WeightMatrix PrunedWeights::matrix(const Module& module) const {
  if (const auto found = matrices_.find(module.name); found != matrices_.end()) return found->second;
  const Module& from = origin(module);
  WeightMatrix matrix = source_.matrix(from);
  if (module.rows == from.rows && module.cols == from.cols) return matrix;
  WeightMatrix smaller = module.rows != from.rows ? take_rows(matrix, kept_rows(module))
                                                  : take_cols(matrix, kept_cols(module), team_);
  source_.release(matrix);
  return smaller;
}

std::vector<float> PrunedWeights::weight_vector(const Module& norm) const {
  return source_.weight_vector(origin(norm));
}

std::vector<float> PrunedWeights::bias(const Module& module) const {
  if (const auto found = biases_.find(module.name); found != biases_.end()) return found->second;
  const Module& from = origin(module);
  std::vector<float> bias = source_.bias(from);
  return module.rows == from.rows ? bias : taken(bias, kept_rows(module));
}

void PrunedWeights::replace(const Module& module, std::span<const float> weights,
                            std::span<const float> bias_change) {
  const ModelFile& file = source_.file();
  const std::string name = origin(module).name;
  const DType dtype = file.get(name + ".weight").dtype;
  WeightMatrix matrix{.format = *float_format(dtype), .rows = module.rows, .cols = module.cols};
  std::vector<std::byte> bytes = float_bytes(weights, dtype);
  require_finite(decode_floats(bytes, dtype), name + ".weight");
  matrices_[module.name] = with_codes(std::move(matrix), std::move(bytes));
  if (!module.bias) return;
  std::vector<float> bias = this->bias(module);
  for (size_t n = 0; n < bias.size(); ++n) bias[n] += bias_change[n];
  const DType of_bias = file.get(name + ".bias").dtype;
  std::vector<float> rounded = decode_floats(float_bytes(bias, of_bias), of_bias);
  require_finite(rounded, name + ".bias");
  biases_[module.name] = std::move(rounded);
}

}  // namespace whittle
