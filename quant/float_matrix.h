#pragma once
// Matrices of floats in memory.

#include <cmath>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/files/json_file.h"
#include "engine/weight_source.h"
#include "kernels/error.h"
#include "kernels/threads.h"
#include "kernels/weight_matrix.h"

namespace whittle {

// A matrix over values [rows, cols] that somebody else keeps.
inline WeightMatrix borrowed_floats(std::span<const float> values, int64_t rows, int64_t cols) {
  WeightMatrix matrix;
  matrix.format = WeightFormat::f32;
  matrix.rows = rows;
  matrix.cols = cols;
  matrix.codes = std::as_bytes(values);
  return matrix;
}

// What a matrix stands for, [rows, cols].
inline std::vector<float> float_values(const WeightMatrix& matrix, const Team& team) {
  std::vector<float> values(static_cast<size_t>(matrix.rows * matrix.cols));
  team.for_each(matrix.rows, [&](int64_t row) { matrix.decode_row(row, values.data() + row * matrix.cols); });
  return values;
}

inline std::vector<float> float_values(const WeightSource& source, const Module& module, const Team& team) {
  const WeightMatrix matrix = source.matrix(module);
  std::vector<float> values = float_values(matrix, team);
  source.release(matrix);
  return values;
}

// A matrix that is made row by row.
class FloatMatrix {
 public:
  FloatMatrix(int64_t rows, int64_t cols)
      : bytes_(std::make_shared<std::vector<std::byte>>(static_cast<size_t>(rows * cols) * sizeof(float))) {
    matrix_.format = WeightFormat::f32;
    matrix_.rows = rows;
    matrix_.cols = cols;
    matrix_.codes = *bytes_;
  }

  float* row(int64_t i) { return reinterpret_cast<float*>(bytes_->data()) + i * matrix_.cols; }

  // The matrix, which owns its values. Throws Error that names the tensor where one is not finite.
  WeightMatrix take(const std::string& tensor) {
    for (const float* value = row(0); value != row(matrix_.rows); ++value)
      if (!std::isfinite(*value)) fail("tensor {}: changed, a value is no finite float32", quote(tensor));
    matrix_.owned = std::move(bytes_);
    return std::move(matrix_);
  }

 private:
  std::shared_ptr<std::vector<std::byte>> bytes_;
  WeightMatrix matrix_;
};

}  // namespace whittle
