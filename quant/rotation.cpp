#include "quant/rotation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "engine/files/interrupts.h"
#include "engine/files/json_file.h"
#include "kernels/error.h"
#include "quant/float_matrix.h"

namespace whittle {
namespace {

bool on_stream(const Module& norm) {
  return norm.role == Role::attention_norm || norm.role == Role::mlp_norm || norm.role == Role::final_norm;
}

// Whether all linears that read a norm have a bias that can take the norm's.
bool readers_take_bias(const Inventory& inventory, const Module& norm) {
  int64_t readers = 0, biases = 0;
  for (const Module& module : inventory.modules())
    if (module.layer == norm.layer && module.kind() == ModuleKind::linear &&
        info(module.role).input == norm.role) {
      ++readers;
      biases += module.bias;
    }
  return readers > 0 && biases == readers;
}

// A bias that stays with its norm is divided by the gain. What it is then lies beside normalised values near
// 1: beyond this, float32 would lose them.
constexpr float largest_quotient = 4096;

// values [.., cols], float or double: takes every column's `rows` through q, as many at a time as it has.
template <class T>
void rotate_rows(T* values, int64_t cols, const std::vector<int64_t>& rows, const OrthogonalMatrix& q,
                 const Team& team) {
  constexpr int64_t block = 16;  // columns: a cache line of floats
  const int64_t blocks = (cols + block - 1) / block, n = q.size();
  team.for_each(std::ssize(rows) / n * blocks, [&](int64_t item) {
    if (interrupted()) return;
    const int64_t* piece = rows.data() + item / blocks * n;
    const int64_t begin = item % blocks * block, count = std::min(block, cols - begin);
    std::vector<double> columns(static_cast<size_t>(count * n));
    for (int64_t i = 0; i < n; ++i)
      for (int64_t c = 0; c < count; ++c)
        columns[static_cast<size_t>(c * n + i)] = static_cast<double>(values[piece[i] * cols + begin + c]);
    for (int64_t c = 0; c < count; ++c) q.apply(columns.data() + c * n);
    for (int64_t i = 0; i < n; ++i)
      for (int64_t c = 0; c < count; ++c)
        values[piece[i] * cols + begin + c] = static_cast<T>(columns[static_cast<size_t>(c * n + i)]);
  });
  check_interrupted();
}

std::vector<float> as_floats(const std::vector<double>& values, const std::string& tensor) {
  std::vector<float> floats;
  for (const double value : values) {
    floats.push_back(static_cast<float>(value));
    if (!std::isfinite(floats.back()))
      fail("tensor {}: rotated, a value is no finite float32", quote(tensor));
  }
  return floats;
}

}  // namespace

ResidualRotation residual_rotation(const WeightSource& source) {
  const Inventory& inventory = source.inventory();
  if (const Module* norm = inventory.find(Role::embedding_norm))
    return {fmt::format("{} stands in it, and no linear can take its gain", norm->name), false};
  const std::vector<float> last = source.weight_vector(*inventory.find(Role::final_norm));
  const bool uniform = std::ranges::adjacent_find(last, std::ranges::not_equal_to()) == last.end();
  const bool unties = inventory.tied() && !uniform;
  for (const Module& norm : inventory.modules()) {
    if (!on_stream(norm) || !norm.bias || readers_take_bias(inventory, norm)) continue;
    if (norm.role == Role::final_norm && inventory.tied() && uniform) continue;
    const std::vector<float> gains = source.weight_vector(norm), bias = source.bias(norm);
    for (size_t i = 0; i < gains.size(); ++i)
      if (std::abs(bias[i]) > largest_quotient * std::abs(gains[i]))
        return {fmt::format("{} has a bias of {} at {} under a gain of {}, and a reader without one",
                            norm.name, bias[i], i, gains[i]),
                unties};
  }
  return {"", unties};
}

RotatedWeights::RotatedWeights(const WeightSource& source, const RotationOptions& options, const Team& team)
    : source_(source), team_(team) {
  const ModelSpec& spec = source.spec();
  if (options.values) values_.emplace(spec.head_dim, options.seed);
  if (!options.residual) return;
  const ResidualRotation rotation = residual_rotation(source);
  if (!rotation.obstacle.empty()) fail("the residual stream cannot be rotated: {}", rotation.obstacle);
  stream_.emplace(spec.hidden_size, options.seed, spec.norm == NormType::layer);
  if (!rotation.unties) return;
  untied_.emplace(spec, Inventory());
  untied_->spec.tie_word_embeddings = false;
  const std::string& embedding = source.inventory().embedding_name();
  untied_->inventory = Inventory(untied_->spec, [&](const std::string& name) { return name == embedding; });
}

const Module& RotatedWeights::stored(const Module& module) const {
  const Inventory& inventory = source_.inventory();
  const bool either = module.role == Role::embedding || module.role == Role::head;
  return either && inventory.tied() ? inventory.embedding() : *inventory.find(module.name);
}

const OrthogonalMatrix* RotatedWeights::of_inputs(const Module& module) const {
  if (module.role == Role::o) return values_ ? &*values_ : nullptr;
  const bool stream = module.matrix() && module.role != Role::down;
  return stream && stream_ ? &*stream_ : nullptr;
}

const OrthogonalMatrix* RotatedWeights::of_outputs(const Module& module) const {
  if (module.role == Role::v || module.role == Role::qkv) return values_ ? &*values_ : nullptr;
  const bool stream = module.role == Role::o || module.role == Role::down;
  return stream && stream_ ? &*stream_ : nullptr;
}

std::vector<int64_t> RotatedWeights::rotated_outputs(const Module& module) const {
  if (module.role == Role::qkv) return fused_rows(spec(), module.layer, Role::v);
  std::vector<int64_t> rows(static_cast<size_t>(module.rows));
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

bool RotatedWeights::moves(const Module& norm) const {
  return stream_ && on_stream(norm) && (norm.role != Role::final_norm || !inventory().tied());
}

const Module* RotatedWeights::norm_before(const Module& linear) const {
  const Role role = info(linear.role).input;
  if (linear.kind() != ModuleKind::linear || info(role).kind != ModuleKind::norm) return nullptr;
  const Inventory& inventory = source_.inventory();
  const Module* norm = linear.layer < 0 ? inventory.find(role) : inventory.find(linear.layer, role);
  return moves(*norm) ? norm : nullptr;
}

bool RotatedWeights::changed(const Module& module) const {
  return of_inputs(module) || of_outputs(module) || (stream_ && on_stream(module));
}

WeightMatrix RotatedWeights::matrix(const Module& module) const {
  const WeightMatrix weights = source_.matrix(stored(module));
  if (!changed(module)) return weights;
  FloatMatrix rotated(module.rows, module.cols);
  const OrthogonalMatrix* q = of_inputs(module);
  const Module* norm = norm_before(module);
  const std::vector<float> gains = norm ? source_.weight_vector(*norm) : std::vector<float>();
  team_.for_each(module.rows, [&](int64_t row) {
    if (interrupted()) return;
    float* out = rotated.row(row);
    weights.decode_row(row, out);
    std::vector<double> wide(out, out + module.cols);
    for (size_t k = 0; k < gains.size(); ++k) wide[k] *= static_cast<double>(gains[k]);
    for (int64_t k = 0; q && k < module.cols; k += q->size()) q->apply(wide.data() + k);
    std::ranges::transform(wide, out, [](double value) { return static_cast<float>(value); });
  });
  check_interrupted();
  source_.release(weights);
  if (const OrthogonalMatrix* outputs = of_outputs(module))
    rotate_rows(rotated.row(0), module.cols, rotated_outputs(module), *outputs, team_);
  return rotated.take(module.name + ".weight");
}

std::vector<float> RotatedWeights::weight_vector(const Module& norm) const {
  std::vector<float> gains = source_.weight_vector(stored(norm));
  if (moves(norm)) std::ranges::fill(gains, 1.0f);
  return gains;
}

std::vector<float> RotatedWeights::bias(const Module& module) const {
  const std::vector<float> before = source_.bias(stored(module));
  if (!changed(module)) return before;
  std::vector<double> bias(before.begin(), before.end());
  if (module.kind() == ModuleKind::norm) {
    if (moves(module) && readers_take_bias(inventory(), module)) return std::vector<float>(bias.size());
    const std::vector<float> gains = source_.weight_vector(stored(module));
    for (size_t i = 0; moves(module) && i < bias.size(); ++i)
      if (bias[i] != 0) bias[i] /= static_cast<double>(gains[i]);
    stream_->apply(bias.data());
    return as_floats(bias, module.name + ".bias");
  }
  const Module* norm = norm_before(module);
  if (norm && norm->bias && readers_take_bias(inventory(), *norm)) {
    const std::vector<float> moved = source_.bias(*norm);
    const WeightMatrix weights = source_.matrix(stored(module));
    team_.for_each(module.rows, [&](int64_t row) {
      std::vector<float> values(static_cast<size_t>(module.cols));
      weights.decode_row(row, values.data());
      for (size_t k = 0; k < values.size(); ++k)
        bias[static_cast<size_t>(row)] += static_cast<double>(values[k]) * static_cast<double>(moved[k]);
    });
    source_.release(weights);
  }
  if (const OrthogonalMatrix* q = of_outputs(module))
    rotate_rows(bias.data(), 1, rotated_outputs(module), *q, team_);
  return as_floats(bias, module.name + ".bias");
}

}  // namespace whittle
