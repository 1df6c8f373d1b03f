#include "quant/scale_search.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "quant/float_matrix.h"
#include "quant/scaling.h"

namespace whittle {
namespace {

constexpr int alphas = 20;
// Channels that hardly carry anything are not made larger without end.
constexpr float smallest_magnitude = 1e-4f;  // of the largest

// One value a channel from one an input, where several may read a channel.
template <class Join>
std::vector<float> by_channel(const ModelSpec& spec, int64_t layer, Role producer,
                              std::span<const float> inputs, Join join) {
  const std::vector<int64_t> channels = input_channels(spec, layer, producer);
  std::vector<float> values(static_cast<size_t>(scaled_channels(spec, layer, producer)));
  for (size_t k = 0; k < channels.size(); ++k) {
    float& value = values[static_cast<size_t>(channels[k])];
    value = join(value, inputs[k]);
  }
  return values;
}

std::vector<float> by_input(const ModelSpec& spec, int64_t layer, Role producer,
                            const std::vector<float>& scales) {
  std::vector<float> inputs;
  for (const int64_t channel : input_channels(spec, layer, producer))
    inputs.push_back(scales[static_cast<size_t>(channel)]);
  return inputs;
}

// What rounding costs a reader whose columns are multiplied by `scales`, one an input. of_scaled: of the
// inputs that it then reads.
double loss_of(const ScaledReader& reader, const std::vector<float>& scales, const InputStatistics& of_scaled,
               const Team& team) {
  const WeightMatrix& weights = reader.weights;
  const int64_t cols = weights.cols;
  FloatMatrix columns(weights.rows, cols);
  team.for_each(weights.rows, [&](int64_t row) {
    float* out = columns.row(row);
    weights.decode_row(row, out);
    for (int64_t k = 0; k < cols; ++k) out[k] *= scales[static_cast<size_t>(k)];
  });
  const WeightMatrix matrix = columns.take(reader.name + ".weight");
  const QuantizedMatrix rounded = with_best_scale_type(reader.scheme, [&](DType type) {
    return round_to_nearest(matrix, reader.scheme, type, of_scaled.importance.data(), team);
  });
  std::vector<float> differences(static_cast<size_t>(weights.rows * cols));
  team.for_each(weights.rows, [&](int64_t row) {
    std::vector<float> before(static_cast<size_t>(cols));
    matrix.decode_row(row, before.data());
    float* out = differences.data() + row * cols;
    rounded.matrix.decode_row(row, out);
    for (int64_t k = 0; k < cols; ++k) out[k] = before[static_cast<size_t>(k)] - out[k];
  });
  double loss = 0;
  for (const double error : output_errors(differences, weights.rows, of_scaled, team)) loss += error;
  return loss;
}

}  // namespace

ScaleSearch awq_scales(const ModelSpec& spec, int64_t layer, Role producer,
                       std::span<const ScaledReader> readers, const InputStatistics& inputs,
                       const Team& team) {
  // Squares, relative to the largest; of channels with several readers, their sum.
  std::vector<float> squares = by_channel(spec, layer, producer, inputs.importance, std::plus<float>());
  const float largest = *std::ranges::max_element(squares);
  ScaleSearch best;
  for (int step = 0; step < alphas; ++step) {
    const double alpha = static_cast<double>(step) / alphas;
    std::vector<float> scales;
    for (const float square : squares) {
      const float magnitude = largest > 0 ? std::sqrt(square / largest) : 1;
      scales.push_back(
          static_cast<float>(std::pow(static_cast<double>(std::max(magnitude, smallest_magnitude)), alpha)));
    }
    const auto [least, most] = std::ranges::minmax_element(scales);
    const float middle = std::sqrt(*least * *most);
    for (float& scale : scales) scale /= middle;
    const std::vector<float> of_inputs = by_input(spec, layer, producer, scales);
    const InputStatistics of_scaled = scaled(inputs, of_inputs);
    double loss = 0;
    for (const ScaledReader& reader : readers) loss += loss_of(reader, of_inputs, of_scaled, team);
    if (step == 0) best.unscaled_loss = loss;
    if (step > 0 && !(loss < best.loss)) continue;
    best.loss = loss;
    best.scales = std::move(scales);
  }
  return best;
}

std::vector<float> smoothquant_scales(const ModelSpec& spec, int64_t layer, Role producer,
                                      std::span<const ScaledReader> readers, std::span<const float> largest,
                                      double alpha) {
  const auto larger = [](float a, float b) { return std::max(a, b); };
  std::vector<float> weights(largest.size());
  for (const ScaledReader& reader : readers) {
    std::vector<float> row(weights.size());
    for (int64_t i = 0; i < reader.weights.rows; ++i) {
      reader.weights.decode_row(i, row.data());
      for (size_t k = 0; k < row.size(); ++k) weights[k] = std::max(weights[k], std::abs(row[k]));
    }
  }
  std::vector<float> scales = by_channel(spec, layer, producer, largest, larger);
  const std::vector<float> of_weights =
      by_channel(spec, layer, producer, std::span<const float>(weights), larger);
  for (size_t c = 0; c < scales.size(); ++c) {
    const double x = static_cast<double>(scales[c]), w = static_cast<double>(of_weights[c]);
    // A channel that is always zero, or that nobody reads, stays as it is.
    scales[c] = x > 0 && w > 0 ? static_cast<float>(std::pow(x, alpha) / std::pow(w, 1 - alpha)) : 1.0f;
  }
  return scales;
}

}  // namespace whittle
