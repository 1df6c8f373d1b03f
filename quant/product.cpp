#include "quant/product.h"

#include <algorithm>
#include <span>

#include "quant/float_matrix.h"

namespace whittle {

PackedWeight packed_floats(const Team& team, const float* values, int64_t rows, int64_t cols) {
  const WeightMatrix matrix =
      borrowed_floats(std::span(values, static_cast<size_t>(rows * cols)), rows, cols);
  Packer packer(matrix);
  team.for_each(packer.panel_count(), [&](int64_t panel) { packer.pack(panel); });
  return packer.take();
}

void Product::compute(FloatRows a, int64_t cols, const float* b, int64_t b_rows, int64_t b_stride) {
  const auto grow = [](Buffer<float>& buffer, int64_t size) {
    if (buffer.size() < size) buffer = Buffer<float>(size, true);
  };
  if (b_stride != cols) {
    grow(dense_, b_rows * cols);
    constexpr int64_t block = 64;
    team_.for_each((b_rows + block - 1) / block, [&](int64_t i) {
      for (int64_t n = i * block; n < std::min(b_rows, (i + 1) * block); ++n)
        std::copy_n(b + n * b_stride, cols, dense_.data() + n * cols);
    });
    b = dense_.data();
  }
  const PackedWeight packed = packed_floats(team_, b, b_rows, cols);
  stride_ = packed.padded_rows();
  grow(values_, a.rows * stride_);
  team_.for_each(packed.panel_count(), [&](int64_t panel) {
    kernels().matmul_float(packed, a, {panel, panel + 1}, {values_.data(), stride_});
  });
}

}  // namespace whittle
