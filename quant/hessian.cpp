#include "quant/hessian.h"

#include <algorithm>

#include "kernels/packed_weight.h"
#include "quant/product.h"

namespace whittle {
int64_t RowBatch::take(FloatRows rows, int64_t first) {
  if (values_.size() == 0) values_ = Buffer<float>(most_rows * cols_, true);
  const int64_t taken = std::min(rows.rows - first, most_rows - count_);
  for (int64_t t = 0; t < taken; ++t)
    std::copy_n(rows.values + (first + t) * rows.stride, cols_, values_.data() + (count_ + t) * cols_);
  count_ += taken;
  return taken;
}

Buffer<float> RowBatch::transposed(const Team& team) const {
  Buffer<float> inputs(cols_ * count_, true);
  team.for_each((cols_ + 63) / 64, [&](int64_t block) {
    const int64_t end = std::min(cols_, block * 64 + 64);
    for (int64_t t = 0; t < count_; ++t)
      for (int64_t k = block * 64; k < end; ++k)
        inputs.data()[k * count_ + t] = values_.data()[t * cols_ + k];
  });
  return inputs;
}

namespace {

// sums [outputs, cols] += left · rightᵀ, [outputs, rows] and [cols, rows]. upper: of each panel's columns
// only the rows up to its last one. products: room for it, taken at the first call.
void add_products(const Team& team, const Buffer<float>& left, const Buffer<float>& right, int64_t rows,
                  bool upper, Buffer<float>& products, std::vector<double>& sums) {
  const int64_t outputs = left.size() / rows, cols = right.size() / rows;
  const PackedWeight packed = packed_floats(team, right.data(), cols, rows);
  const int64_t stride = packed.padded_rows();
  if (products.size() == 0) products = Buffer<float>(outputs * stride, true);
  team.for_each(packed.panel_count(), [&](int64_t panel) {
    const int64_t begin = panel * panel_rows, end = std::min(cols, begin + panel_rows),
                  used = upper ? end : outputs;
    kernels().matmul_float(packed, {used, rows, left.data()}, {panel, panel + 1}, {products.data(), stride});
    for (int64_t m = 0; m < used; ++m)
      for (int64_t n = begin; n < end; ++n)
        sums[static_cast<size_t>(m * cols + n)] += static_cast<double>(products.data()[m * stride + n]);
  });
}

}  // namespace

void Hessian::add(const Team& team, FloatRows rows) {
  for (int64_t first = 0; first < rows.rows;) {
    first += batch_.take(rows, first);
    if (batch_.full()) add_batch(team);
  }
}

void Hessian::add_batch(const Team& team) {
  if (batch_.count() == 0) return;
  // H is the product of the transposed rows with themselves.
  const Buffer<float> inputs = batch_.transposed(team);
  add_products(team, inputs, inputs, batch_.count(), true, products_, sums_);
  rows_seen_ += batch_.count();
  batch_.clear();
}

std::vector<float> Hessian::mean(const Team& team) {
  add_batch(team);
  products_ = {};
  std::vector<float> mean(sums_.size());
  const double factor = rows_seen_ ? 1.0 / static_cast<double>(rows_seen_) : 0;
  team.for_each(cols_, [&](int64_t m) {
    for (int64_t n = 0; n < cols_; ++n)
      mean[static_cast<size_t>(m * cols_ + n)] =
          static_cast<float>(sums_[static_cast<size_t>(std::min(m, n) * cols_ + std::max(m, n))] * factor);
  });
  return mean;
}

void CrossMoment::add(const Team& team, FloatRows x, FloatRows y) {
  for (int64_t first = 0; first < x.rows;) {
    x_.take(x, first);
    first += y_.take(y, first);
    if (x_.full()) add_batch(team);
  }
}

void CrossMoment::add_batch(const Team& team) {
  if (x_.count() == 0) return;
  add_products(team, x_.transposed(team), y_.transposed(team), x_.count(), false, products_, sums_);
  rows_seen_ += x_.count();
  x_.clear();
  y_.clear();
}

std::vector<float> CrossMoment::mean(const Team& team) {
  add_batch(team);
  products_ = {};
  std::vector<float> mean(sums_.size());
  const double factor = rows_seen_ ? 1.0 / static_cast<double>(rows_seen_) : 0;
  const int64_t cols = y_.cols();
  team.for_each(x_.cols(), [&](int64_t m) {
    for (int64_t i = m * cols; i < (m + 1) * cols; ++i)
      mean[static_cast<size_t>(i)] = static_cast<float>(sums_[static_cast<size_t>(i)] * factor);
  });
  return mean;
}

}  // namespace whittle
