#include "quant/tuned_parameters.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "engine/files/json_file.h"
#include "kernels/error.h"
#include "quant/float_matrix.h"
#include "quant/gradient/operations.h"
#include "quant/rounding.h"

namespace whittle {
namespace {

// A weight starts this close at most to where rounding would give it another code.
constexpr float reach = 0.49f;

// Adam's move of one parameter, at a rate of 1.
class Adam {
 public:
  explicit Adam(int64_t step)
      : mean_correction_(1 / (1 - std::pow(mean_decay, static_cast<float>(step)))),
        square_correction_(1 / (1 - std::pow(square_decay, static_cast<float>(step)))) {}
  float move(float gradient, float& mean, float& square) const {
    mean = mean_decay * mean + (1 - mean_decay) * gradient;
    square = square_decay * square + (1 - square_decay) * gradient * gradient;
    return mean * mean_correction_ / (std::sqrt(square * square_correction_) + 1e-12f);
  }

 private:
  static constexpr float mean_decay = 0.9f, square_decay = 0.99f;
  float mean_correction_, square_correction_;
};

}  // namespace

TunedParameters::TunedParameters(const TuningTask& task, const TuningOptions& options, const Team& team,
                                 TuningState& state)
    : task_(task), options_(options), team_(team), state_(state), weights_(task.written) {
  for (const auto& [name, matrix] : task.matrices) {
    matrices_[name] = matrix.quantized.matrix;
    if (!info(matrices_[name].format).quantized) {
      if (options.weight_rate > 0) start(name + ".weight", start_floats(name));
      apply_matrix(name);
      continue;
    }
    if (options.scale_rate > 0) start(name + ".scale", std::vector<float>(matrices_[name].scales.size()));
    if (options.rounding_rate > 0) start(name + ".code", places(name));
    apply_matrix(name);
  }
  if (options.norm_rate <= 0) return;
  for (const Module& norm : task.original.inventory().modules()) {
    if (norm.kind() != ModuleKind::norm) continue;
    norms_[norm.name] = task.original.weight_vector(norm);
    start(norm.name, std::vector<float>(norms_[norm.name].size(), 1.0f));
    apply_norm(norm.name);
  }
}

void TunedParameters::start(const std::string& name, std::vector<float> value) {
  const size_t size = value.size();
  const std::vector<float> zeros(size);
  const Parameter& found =
      state_.parameters.try_emplace(name, Parameter{std::move(value), zeros, zeros}).first->second;
  if (found.value.size() != size || found.mean.size() != size || found.square.size() != size)
    fail("the state of a tuning run has {} values of {}, the model {}", found.value.size(), quote(name),
         size);
}

TuningState::Parameter* TunedParameters::find(const std::string& name) const {
  const auto found = state_.parameters.find(name);
  return found == state_.parameters.end() ? nullptr : &found->second;
}

bool TunedParameters::tuned(const Module& module) const {
  return matrices_.contains(module.name) || norms_.contains(module.name);
}

// In codes, zero points included, and no further from the given code than rounding allows.
std::vector<float> TunedParameters::places(const std::string& name) const {
  const WeightMatrix& given = task_.matrices.at(name).quantized.matrix;
  const bool pruned = task_.matrices.at(name).pruned;
  const WeightMatrix floats = task_.original.matrix(module(name));
  std::vector<float> places(static_cast<size_t>(given.rows * given.cols));
  team_.for_each(given.rows, [&](int64_t row) {
    std::vector<float> weights(static_cast<size_t>(given.cols)), codes(weights);
    floats.decode_row(row, weights.data());
    info(given.format)
        .decode_row(given.codes.data() + row * row_bytes(given.format, given.cols), given.cols, codes.data());
    for (int64_t k = 0; k < given.cols; ++k) {
      const auto group = static_cast<size_t>(row * given.groups() + k / given.group_size);
      const float scale = given.scales[group], code = codes[static_cast<size_t>(k)];
      const float zero = given.zero_points.empty() ? 0 : given.zero_points[group];
      const bool stays = scale == 0 || (pruned && code == zero);
      const float place = stays ? code : weights[static_cast<size_t>(k)] / scale + zero;
      places[static_cast<size_t>(row * given.cols + k)] = std::clamp(place, code - reach, code + reach);
    }
  });
  task_.original.release(floats);
  return places;
}

// Sets the rows' units.
std::vector<float> TunedParameters::start_floats(const std::string& name) {
  const WeightMatrix& given = task_.matrices.at(name).quantized.matrix;
  std::vector<float> weights = float_values(given, team_);
  std::vector<float>& units = units_[name];
  units.resize(static_cast<size_t>(given.rows));
  team_.for_each(given.rows, [&](int64_t row) {
    const std::span of_row(weights.data() + row * given.cols, static_cast<size_t>(given.cols));
    double squares = 0;
    int64_t count = 0;
    for (const float weight : of_row) {
      squares += static_cast<double>(weight) * static_cast<double>(weight);
      count += weight != 0;
    }
    const float unit = count ? static_cast<float>(std::sqrt(squares / static_cast<double>(count))) : 0;
    units[static_cast<size_t>(row)] = unit > 0 ? unit : 1;
    for (float& weight : of_row) weight /= units[static_cast<size_t>(row)];
  });
  return weights;
}

void TunedParameters::apply_matrix(const std::string& name) {
  const WeightMatrix& given = task_.matrices.at(name).quantized.matrix;
  WeightMatrix& now = matrices_.at(name);
  if (const Parameter* scale = find(name + ".scale"))
    for (size_t g = 0; g < now.scales.size(); ++g)
      now.scales[g] = given.scales[g] * exponential(scale->value[g]);
  if (const Parameter* place = find(name + ".code")) {
    const WeightFormatInfo& format = info(given.format);
    const int64_t bytes = row_bytes(given.format, given.cols);
    const auto least = static_cast<float>(format.code_min), most = static_cast<float>(format.code_max);
    auto codes = std::make_shared<std::vector<std::byte>>(given.codes.size());
    team_.for_each(given.rows, [&](int64_t row) {
      std::vector<float> of_row(static_cast<size_t>(given.cols));
      const float* const from = place->value.data() + row * given.cols;
      for (int64_t k = 0; k < given.cols; ++k)
        of_row[static_cast<size_t>(k)] = std::clamp(nearest(from[k]), least, most);
      format.encode_row(of_row.data(), given.cols, codes->data() + row * bytes);
    });
    now.codes = *codes;
    now.owned = std::move(codes);
  }
  if (const Parameter* weight = find(name + ".weight")) {
    std::vector<std::byte> codes(given.codes.size());
    team_.for_each(given.rows, [&](int64_t row) {
      const float* const from = weight->value.data() + row * given.cols;
      std::vector<float> of_row(from, from + given.cols);
      for (float& value : of_row) value *= units_.at(name)[static_cast<size_t>(row)];
      info(given.format)
          .encode_row(of_row.data(), given.cols, codes.data() + row * row_bytes(given.format, given.cols));
    });
    now = with_codes(std::move(now), std::move(codes));
  }
  weights_.replace(name, {now, task_.matrices.at(name).activation_group_size});
}

void TunedParameters::apply_norm(const std::string& name) {
  std::vector<float> weight = task_.original.weight_vector(module(name));
  const Parameter& factor = state_.parameters.at(name);
  for (size_t i = 0; i < weight.size(); ++i) weight[i] *= factor.value[i];
  norms_[name] = weight;
  weights_.replace_norm(name, std::move(weight));
}

void TunedParameters::move(const ModuleGradient& gradient, int64_t step, float rate) {
  const std::string& name = gradient.module.name;
  const Adam adam(step);
  // What has no derivative stays: the judge refuses the rest of such a step.
  const auto move = [&](Parameter& of, size_t at, float derivative, float most) {
    if (!std::isfinite(derivative)) return;
    of.value[at] -= most * rate * adam.move(derivative, of.mean[at], of.square[at]);
  };
  if (gradient.module.kind() == ModuleKind::norm) {
    const std::vector<float> given = task_.original.weight_vector(gradient.module);
    for (size_t i = 0; i < given.size(); ++i)
      move(*find(name), i, gradient.weight.row(0)[i] * given[i], options_.norm_rate);
    return apply_norm(name);
  }
  const WeightMatrix& now = matrices_.at(name);
  const bool pruned = task_.matrices.at(name).pruned;
  if (Parameter* const weight = find(name + ".weight")) {
    team_.for_each(now.rows, [&](int64_t row) {
      const float unit = units_.at(name)[static_cast<size_t>(row)];
      for (int64_t k = 0; k < now.cols; ++k) {
        const auto i = static_cast<size_t>(row * now.cols + k);
        if (!pruned || weight->value[i] != 0)
          move(*weight, i, gradient.weight.row(row)[k] * unit, options_.weight_rate);
      }
    });
    return apply_matrix(name);
  }
  const WeightFormatInfo& format = info(now.format);
  const auto least = static_cast<float>(format.code_min) - reach,
             most = static_cast<float>(format.code_max) + reach;
  Parameter *const scale = find(name + ".scale"), *const place = find(name + ".code");
  team_.for_each(now.rows, [&](int64_t row) {
    std::vector<float> weights(static_cast<size_t>(now.cols));
    now.decode_row(row, weights.data());
    const float* const d = gradient.weight.row(row);
    for (int64_t g = 0; g < now.groups(); ++g) {
      const auto group = static_cast<size_t>(row * now.groups() + g);
      const float zero = now.zero_points.empty() ? 0 : now.zero_points[group];
      const int64_t begin = g * now.group_size, end = std::min(now.cols, begin + now.group_size);
      // w = (code − zero point) · s: dL/d ln s = Σ dL/dw · w, dL/dcode = dL/dw · s.
      if (scale)
        move(*scale, group, dot(d + begin, weights.data() + begin, end - begin), options_.scale_rate);
      for (int64_t k = begin; place && k < end; ++k) {
        const auto i = static_cast<size_t>(row * now.cols + k);
        if (pruned && place->value[i] == zero) continue;
        move(*place, i, d[k] * now.scales[group], options_.rounding_rate);
        place->value[i] = std::clamp(place->value[i], least, most);
      }
    }
  });
  apply_matrix(name);
}

void TunedParameters::store(TuningState& state) const {
  for (const auto& [name, matrix] : matrices_) {
    const QuantizedMatrix& given = task_.matrices.at(name).quantized;
    TuningState::Matrix& stored = state.best_matrices[name];
    stored.codes.assign(matrix.codes.begin(), matrix.codes.end());
    stored.scales = matrix.scales;
    for (size_t g = 0; g < stored.scales.size(); ++g)
      stored.scales[g] = stored_scale(stored.scales[g], given.scale_type).value_or(given.matrix.scales[g]);
  }
  for (const auto& [name, norm] : norms_) {
    std::vector<float>& stored = state.best_norms[name];
    stored = norm;
    for (float& weight : stored) weight = task_.stored(module(name), weight);
  }
}

}  // namespace whittle
