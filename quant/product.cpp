#include "quant/product.h"

#include <algorithm>
#include <span>

namespace whittle {

PackedWeight packed_floats(const Team& team, const float* values, int64_t rows, int64_t cols) {
  WeightMatrix matrix;
  matrix.format = WeightFormat::f32;
  matrix.rows = rows;
  matrix.cols = cols;
  matrix.codes = std::as_bytes(std::span(values, static_cast<size_t>(rows * cols)));
  Packer packer(matrix);
  team.for_each(packer.panel_count(), [&](int64_t panel) { packer.pack(panel); });
  return packer.take();
}

Product::Product(const Team& team, FloatRows a, int64_t cols, const float* b, int64_t b_rows,
                 int64_t b_stride) {
  std::vector<float> dense;
  if (b_stride != cols) {
    dense.resize(static_cast<size_t>(b_rows * cols));
    for (int64_t n = 0; n < b_rows; ++n) std::copy_n(b + n * b_stride, cols, dense.data() + n * cols);
    b = dense.data();
  }
  const PackedWeight packed = packed_floats(team, b, b_rows, cols);
  stride_ = packed.padded_rows();
  values_ = Buffer<float>(a.rows * stride_, true);
  team.for_each(packed.panel_count(), [&](int64_t panel) {
    kernels().matmul_float(packed, a, {panel, panel + 1}, {values_.data(), stride_});
  });
}

}  // namespace whittle
