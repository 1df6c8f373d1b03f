#include "quant/hessian.h"

#include <algorithm>

#include "kernels/buffer.h"
#include "kernels/packed_weight.h"
#include "quant/product.h"

namespace whittle {
namespace {

// Each input's values side by side: [cols, rows].
Buffer<float> transposed(const Team& team, FloatRows rows, int64_t cols) {
  Buffer<float> inputs(cols * rows.rows);
  team.for_each((cols + 63) / 64, [&](int64_t block) {
    const int64_t end = std::min(cols, block * 64 + 64);
    for (int64_t t = 0; t < rows.rows; ++t)
      for (int64_t k = block * 64; k < end; ++k)
        inputs.data()[k * rows.rows + t] = rows.values[t * rows.stride + k];
  });
  return inputs;
}

}  // namespace

void Hessian::add(const Team& team, FloatRows rows) {
  // H is the product of the transposed rows with themselves.
  const Buffer<float> inputs = transposed(team, rows, cols_);
  WeightMatrix matrix;
  matrix.format = WeightFormat::f32;
  matrix.rows = cols_;
  matrix.cols = rows.rows;
  matrix.codes = std::as_bytes(inputs.span());
  Packer packer(matrix);
  team.for_each(packer.panel_count(), [&](int64_t panel) { packer.pack(panel); });
  const PackedWeight packed = packer.take();
  const int64_t stride = packed.padded_rows();
  Buffer<float> products(cols_ * stride);
  team.for_each(packed.panel_count(), [&](int64_t panel) {
    const int64_t begin = panel * panel_rows, end = std::min(cols_, begin + panel_rows);
    kernels().matmul_float(packed, {end, rows.rows, inputs.data()}, {panel, panel + 1},
                           {products.data(), stride});
    for (int64_t m = 0; m < end; ++m)
      for (int64_t n = begin; n < end; ++n)
        sums_[static_cast<size_t>(m * cols_ + n)] += static_cast<double>(products.data()[m * stride + n]);
  });
  rows_seen_ += rows.rows;
}

std::vector<float> Hessian::mean() const {
  std::vector<float> mean(sums_.size());
  const double factor = rows_seen_ ? 1.0 / static_cast<double>(rows_seen_) : 0;
  for (int64_t m = 0; m < cols_; ++m)
    for (int64_t n = m; n < cols_; ++n) {
      const auto value = static_cast<float>(sums_[static_cast<size_t>(m * cols_ + n)] * factor);
      mean[static_cast<size_t>(m * cols_ + n)] = mean[static_cast<size_t>(n * cols_ + m)] = value;
    }
  return mean;
}

void CrossMoment::add(const Team& team, FloatRows rows, FloatRows original) {
  const Buffer<float> now = transposed(team, rows, cols_), before = transposed(team, original, cols_);
  const Product products(team, {cols_, rows.rows, now.data()}, rows.rows, before.data(), cols_, rows.rows);
  team.for_each(cols_, [&](int64_t m) {
    for (int64_t n = 0; n < cols_; ++n)
      sums_[static_cast<size_t>(m * cols_ + n)] += static_cast<double>(products.row(m)[n]);
  });
  rows_seen_ += rows.rows;
}

std::vector<float> CrossMoment::mean() const {
  std::vector<float> mean;
  const double factor = rows_seen_ ? 1.0 / static_cast<double>(rows_seen_) : 0;
  for (const double sum : sums_) mean.push_back(static_cast<float>(sum * factor));
  return mean;
}

}  // namespace whittle
