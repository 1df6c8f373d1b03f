#pragma once
// A matrix of floats that is made in memory.

#include <cmath>
#include <memory>
#include <string>

#include "engine/files/json_file.h"
#include "kernels/error.h"
#include "kernels/weight_matrix.h"

namespace whittle {

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
