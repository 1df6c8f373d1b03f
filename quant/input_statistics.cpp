#include "quant/input_statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/files/json_file.h"
#include "kernels/error.h"
#include "quant/inverse_factor.h"
#include "quant/product.h"

namespace whittle {

namespace {

InputStatistics with_importance(const std::string& linear, std::vector<float> h, int64_t cols) {
  InputStatistics inputs;
  inputs.h = std::move(h);
  float largest = 0;
  for (int64_t k = 0; k < cols; ++k) {
    const float square = inputs.h[static_cast<size_t>(k * cols + k)];
    if (!std::isfinite(square))
      fail("{}: on the calibration text, the squares of input {} have no finite sum", quote(linear), k);
    inputs.importance.push_back(square);
    largest = std::max(largest, square);
  }
  for (float& value : inputs.importance) value = largest > 0 ? value / largest : 1;
  return inputs;
}

}  // namespace

InputStatistics input_statistics(const std::string& linear, Hessian&& hessian, const Team& team) {
  const int64_t cols = hessian.cols();
  return with_importance(linear, Hessian(std::move(hessian)).mean(team), cols);
}

InputStatistics scaled(const InputStatistics& inputs, std::span<const float> scales) {
  const int64_t cols = inputs.cols();
  std::vector<float> h = inputs.h;
  for (int64_t i = 0; i < cols; ++i)
    for (int64_t j = 0; j < cols; ++j)
      h[static_cast<size_t>(i * cols + j)] /= scales[static_cast<size_t>(i)] * scales[static_cast<size_t>(j)];
  return with_importance("scaled inputs", std::move(h), cols);
}

InputStatistics input_statistics(const std::string& linear, Hessian&& hessian, const GptqOptions& options,
                                 const Team& team, std::vector<float> cross) {
  const int64_t cols = hessian.cols();
  InputStatistics inputs = input_statistics(linear, std::move(hessian), team);
  inputs.cross = std::move(cross);
  const auto diagonal = [&](int64_t k) { return inputs.h[static_cast<size_t>(k * cols + k)]; };
  inputs.order.resize(static_cast<size_t>(cols));
  std::iota(inputs.order.begin(), inputs.order.end(), 0);
  if (options.activation_order)
    std::ranges::stable_sort(inputs.order, [&](int64_t a, int64_t b) { return diagonal(a) > diagonal(b); });
  std::vector<float> ordered(inputs.h.size());
  team.for_each(cols, [&](int64_t i) {
    for (int64_t j = 0; j < cols; ++j)
      ordered[static_cast<size_t>(i * cols + j)] = inputs.h[static_cast<size_t>(
          inputs.order[static_cast<size_t>(i)] * cols + inputs.order[static_cast<size_t>(j)])];
  });
  inputs.factor = inverse_factor(ordered, cols, options.damping, team);
  return inputs;
}

std::vector<double> output_errors(std::span<const float> differences, int64_t rows,
                                  const InputStatistics& inputs, const Team& team) {
  // H is symmetric: of the blocks beside its diagonal those on the left are taken, twice.
  constexpr int64_t block = 256;
  const auto cols = inputs.cols();
  std::vector<double> errors(static_cast<size_t>(rows));
  std::vector<float> of_block(static_cast<size_t>(std::min(block, cols) * cols));  // [width, end]
  Product product(team);
  for (int64_t begin = 0; begin < cols; begin += block) {
    const int64_t end = std::min(cols, begin + block), width = end - begin;
    for (int64_t i = 0; i < width; ++i) {
      const float* h = inputs.h.data() + (begin + i) * cols;
      float* to = of_block.data() + i * end;
      for (int64_t k = 0; k < begin; ++k) to[k] = 2 * h[k];
      std::copy(h + begin, h + end, to + begin);
    }
    product.compute({rows, cols, differences.data()}, end, of_block.data(), width, end);
    team.for_each(rows, [&](int64_t row) {
      const float *left = differences.data() + row * cols + begin, *right = product.row(row);
      for (int64_t k = 0; k < width; ++k)
        errors[static_cast<size_t>(row)] += static_cast<double>(left[k]) * static_cast<double>(right[k]);
    });
  }
  return errors;
}

double OutputError::relative() const { return power > 0 ? std::sqrt(std::max(0.0, square) / power) : 0; }

OutputError output_error(const WeightMatrix& weights, const WeightMatrix& quantized,
                         const InputStatistics& inputs, const Team& team) {
  const auto cols = static_cast<size_t>(weights.cols);
  std::vector<float> values(static_cast<size_t>(weights.rows) * cols), differences(values.size());
  team.for_each(weights.rows, [&](int64_t row) {
    float *value = values.data() + static_cast<size_t>(row) * cols,
          *difference = differences.data() + static_cast<size_t>(row) * cols;
    weights.decode_row(row, value);
    quantized.decode_row(row, difference);
    for (size_t k = 0; k < cols; ++k) difference[k] = value[k] - difference[k];
  });
  const auto sum = [&](const std::vector<float>& rows) {
    const std::vector<double> squares = output_errors(rows, weights.rows, inputs, team);
    return std::accumulate(squares.begin(), squares.end(), 0.0);
  };
  return {sum(differences), sum(values)};
}

}  // namespace whittle
