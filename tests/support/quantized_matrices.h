#pragma once
// Random matrices and inputs for the methods of quant/, and slow linear algebra to hold them against.

#include <span>
#include <vector>

#include "quant/quantized_matrix.h"
#include "tests/support/tiny_model.h"

namespace whittle::test {

using Dense = std::vector<double>;  // row by row

inline std::vector<float> random_floats(SplitMix64& random, int64_t count, float low = -1, float high = 1) {
  std::vector<float> values;
  for (int64_t i = 0; i < count; ++i) values.push_back(random.uniform(low, high));
  return values;
}

// Inputs of which some directions are common to all, as a model's are.
inline std::vector<float> correlated_inputs(SplitMix64& random, int64_t rows, int64_t cols) {
  const std::vector<float> common = random_floats(random, 3 * cols);
  std::vector<float> inputs;
  for (int64_t t = 0; t < rows; ++t) {
    const std::vector<float> weights = random_floats(random, 3, -2, 2);
    for (int64_t k = 0; k < cols; ++k) {
      float value = random.uniform(-0.3f, 0.3f) * (k % 7 == 0 ? 5.0f : 1.0f);
      for (size_t c = 0; c < 3; ++c)
        value += weights[c] * common[c * static_cast<size_t>(cols) + static_cast<size_t>(k)];
      inputs.push_back(value);
    }
  }
  return inputs;
}

struct Matrix {
  std::vector<float> values;
  WeightMatrix matrix;
  Matrix(std::vector<float> from, int64_t rows, int64_t cols) : values(std::move(from)) {
    matrix.format = WeightFormat::f32;
    matrix.rows = rows;
    matrix.cols = cols;
    matrix.codes = std::as_bytes(std::span(values));
  }
};

inline QuantizationScheme scheme_of(WeightFormat format, int64_t group_size, bool symmetric = true) {
  QuantizationScheme scheme;
  scheme.format = format;
  scheme.group_size = group_size;
  scheme.strategy = group_size ? ScaleStrategy::group : ScaleStrategy::channel;
  scheme.symmetric = symmetric;
  return scheme;
}

inline Dense values_of(const QuantizedMatrix& quantized) {
  const WeightMatrix& matrix = quantized.matrix;
  Dense values;
  std::vector<float> row(static_cast<size_t>(matrix.cols));
  for (int64_t n = 0; n < matrix.rows; ++n) {
    matrix.decode_row(n, row.data());
    values.insert(values.end(), row.begin(), row.end());
  }
  return values;
}

inline Dense inverse_of(Dense a, size_t n) {
  Dense inverse(n * n);
  for (size_t i = 0; i < n; ++i) inverse[i * n + i] = 1;
  for (size_t i = 0; i < n; ++i) {
    const double pivot = a[i * n + i];
    for (size_t j = 0; j < n; ++j) {
      a[i * n + j] /= pivot;
      inverse[i * n + j] /= pivot;
    }
    for (size_t r = 0; r < n; ++r) {
      if (r == i) continue;
      const double factor = a[r * n + i];
      for (size_t j = 0; j < n; ++j) {
        a[r * n + j] -= factor * a[i * n + j];
        inverse[r * n + j] -= factor * inverse[i * n + j];
      }
    }
  }
  return inverse;
}

}  // namespace whittle::test
