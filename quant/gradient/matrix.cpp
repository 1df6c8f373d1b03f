#include "quant/gradient/matrix.h"

#include <algorithm>
#include <cstring>

namespace whittle {
namespace {

constexpr int64_t lanes = 16;
// Rows that one thread takes of a product or of a matrix: enough that a panel is read for many.
constexpr int64_t rows_of_piece = 256;

int64_t pieces(int64_t items, int64_t size) { return (items + size - 1) / size; }

float total(const float (&lane)[lanes]) {
  float sum = 0;
  for (const float value : lane) sum += value;
  return sum;
}

}  // namespace

void Matrix::reshape(int64_t rows, int64_t cols) {
  rows_ = rows;
  cols_ = cols;
  // No power of two, so that neighbouring rows do not share sets of the cache.
  stride_ = round_up(cols, panel_rows) + float_block;
  if (values_.size() < rows * stride_) values_ = Buffer<float>(rows * stride_);
}

void fill(const Team& team, Matrix& matrix, float value) {
  team.for_each(pieces(matrix.rows(), rows_of_piece), [&](int64_t piece) {
    const int64_t end = std::min(matrix.rows(), (piece + 1) * rows_of_piece);
    for (int64_t m = piece * rows_of_piece; m < end; ++m) std::fill_n(matrix.row(m), matrix.cols(), value);
  });
}

void add(const Team& team, Matrix& x, const Matrix& y) {
  team.for_each(pieces(x.rows(), rows_of_piece), [&](int64_t piece) {
    const int64_t end = std::min(x.rows(), (piece + 1) * rows_of_piece);
    for (int64_t m = piece * rows_of_piece; m < end; ++m) kernels().add(x.row(m), y.row(m), x.cols());
  });
}

void transpose(const Team& team, const Matrix& from, Matrix& to) {
  constexpr int64_t block = 16;
  to.reshape(from.cols(), from.rows());
  team.for_each(pieces(to.rows(), block), [&](int64_t piece) {
    const int64_t begin = piece * block, end = std::min(to.rows(), begin + block);
    for (int64_t m = 0; m < from.rows(); m += block)
      for (int64_t n = begin; n < end; ++n)
        for (int64_t i = m; i < std::min(from.rows(), m + block); ++i) to.row(n)[i] = from.row(i)[n];
  });
}

float dot(const float* a, const float* b, int64_t n) {
  float lane[lanes] = {};
  const int64_t whole = n / lanes * lanes;
  for (int64_t i = 0; i < whole; i += lanes)
    for (int64_t l = 0; l < lanes; ++l) lane[l] += a[i + l] * b[i + l];
  for (int64_t i = whole; i < n; ++i) lane[i - whole] += a[i] * b[i];
  return total(lane);
}

float sum(const float* a, int64_t n) {
  float lane[lanes] = {};
  const int64_t whole = n / lanes * lanes;
  for (int64_t i = 0; i < whole; i += lanes)
    for (int64_t l = 0; l < lanes; ++l) lane[l] += a[i + l];
  for (int64_t i = whole; i < n; ++i) lane[i - whole] += a[i];
  return total(lane);
}

float largest(const float* a, int64_t n) {
  float lane[lanes];
  std::fill_n(lane, lanes, a[0]);
  const int64_t whole = n / lanes * lanes;
  for (int64_t i = 0; i < whole; i += lanes)
    for (int64_t l = 0; l < lanes; ++l) lane[l] = a[i + l] > lane[l] ? a[i + l] : lane[l];
  for (int64_t i = whole; i < n; ++i) lane[0] = a[i] > lane[0] ? a[i] : lane[0];
  return *std::max_element(lane, lane + lanes);
}

void Panels::reshape(int64_t rows, int64_t cols) {
  packed_.rows = rows;
  packed_.cols = packed_.padded_cols = cols;
  packed_.panel_bytes = cols * panel_rows * static_cast<int64_t>(sizeof(float));
  const int64_t bytes = packed_.panel_count() * packed_.panel_bytes;
  if (packed_.panels.size() < bytes) packed_.panels = Buffer<std::byte>(bytes);
}

void Panels::pack(const Team& team, const Matrix& b) {
  constexpr int64_t block = 16;
  reshape(b.rows(), b.cols());
  team.for_each(packed_.panel_count(), [&](int64_t index) {
    const int64_t first = index * panel_rows, rows = std::min(panel_rows, b.rows() - first);
    float* const to = panel(index);
    for (int64_t k = 0; k < b.cols(); k += block) {
      const int64_t end = std::min(b.cols(), k + block);
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t i = k; i < end; ++i) to[i * panel_rows + r] = b.row(first + r)[i];
      for (int64_t i = k; i < end; ++i) std::fill_n(to + i * panel_rows + rows, panel_rows - rows, 0.0f);
    }
  });
}

void Panels::pack_transposed(const Team& team, const Matrix& b) {
  reshape(b.cols(), b.rows());
  team.for_each(packed_.panel_count(), [&](int64_t index) {
    const int64_t first = index * panel_rows, rows = std::min(panel_rows, b.cols() - first);
    float* const to = panel(index);
    for (int64_t k = 0; k < b.rows(); ++k) {
      std::memcpy(to + k * panel_rows, b.row(k) + first, static_cast<size_t>(rows) * sizeof(float));
      std::fill_n(to + k * panel_rows + rows, panel_rows - rows, 0.0f);
    }
  });
}

void multiply(const Team& team, FloatRows a, const Panels& b, Matrix& c) {
  const PackedWeight& packed = b.packed();
  c.reshape(a.rows, packed.rows);
  const int64_t panels = packed.panel_count(), parts = pieces(a.rows, rows_of_piece);
  team.for_each(panels * parts, [&](int64_t item) {
    const int64_t panel = item / parts, first = item % parts * rows_of_piece;
    kernels().matmul_float(packed,
                           {std::min(rows_of_piece, a.rows - first), a.stride, a.values + first * a.stride},
                           {panel, panel + 1}, {c.row(first), c.stride()});
  });
}

}  // namespace whittle
