#include "kernels/weight_matrix.h"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace whittle {
namespace {

template <typename T>
std::vector<T> rows_of(const std::vector<T>& values, int64_t width, std::span<const int64_t> rows) {
  std::vector<T> taken;
  if (values.empty()) return taken;
  for (const int64_t row : rows)
    taken.insert(taken.end(), values.begin() + row * width, values.begin() + (row + 1) * width);
  return taken;
}

}  // namespace

WeightMatrix with_codes(WeightMatrix matrix, std::vector<std::byte> codes) {
  matrix.owned = std::make_shared<const std::vector<std::byte>>(std::move(codes));
  matrix.codes = *matrix.owned;
  return matrix;
}

void WeightMatrix::decode_row(int64_t row, float* out, std::span<const int32_t> column_groups) const {
  info(format).decode_row(codes.data() + row * row_bytes(format, cols), cols, out);
  const int64_t row_groups = groups();
  for (int64_t k = 0; row_groups && k < cols; ++k) {
    const int64_t group = column_groups.empty() ? k / group_size : column_groups[static_cast<size_t>(k)];
    const auto at = static_cast<size_t>(row * row_groups + group);
    const float zero_point = zero_points.empty() ? 0.0f : zero_points[at];
    out[k] = (out[k] - zero_point) * scales[at];
  }
}

WeightMatrix take_rows(const WeightMatrix& matrix, std::span<const int64_t> rows) {
  const auto width = static_cast<size_t>(row_bytes(matrix.format, matrix.cols));
  std::vector<std::byte> codes(rows.size() * width);
  for (size_t i = 0; i < rows.size(); ++i)
    std::memcpy(codes.data() + i * width, matrix.codes.data() + static_cast<size_t>(rows[i]) * width, width);
  WeightMatrix taken;
  taken.format = matrix.format;
  taken.rows = static_cast<int64_t>(rows.size());
  taken.cols = matrix.cols;
  taken.group_size = matrix.group_size;
  taken.scales = rows_of(matrix.scales, matrix.groups(), rows);
  taken.zero_points = rows_of(matrix.zero_points, matrix.groups(), rows);
  return with_codes(std::move(taken), std::move(codes));
}

WeightMatrix transpose(const WeightMatrix& matrix) {
  assert(matrix.scales.empty());
  const int64_t bytes = info(matrix.format).bits / 8;
  std::vector<std::byte> codes(matrix.codes.size());
  // In squares, so that the lines of both sides stay in cache.
  constexpr int64_t square = 32;
  for (int64_t n0 = 0; n0 < matrix.rows; n0 += square)
    for (int64_t k0 = 0; k0 < matrix.cols; k0 += square)
      for (int64_t n = n0; n < std::min(n0 + square, matrix.rows); ++n)
        for (int64_t k = k0; k < std::min(k0 + square, matrix.cols); ++k)
          std::memcpy(codes.data() + (k * matrix.rows + n) * bytes,
                      matrix.codes.data() + (n * matrix.cols + k) * bytes, static_cast<size_t>(bytes));
  WeightMatrix turned;
  turned.format = matrix.format;
  turned.rows = matrix.cols;
  turned.cols = matrix.rows;
  return with_codes(std::move(turned), std::move(codes));
}

WeightMatrix decode(const WeightMatrix& matrix, std::span<const int32_t> column_groups, const Team* team) {
  std::vector<std::byte> values(static_cast<size_t>(matrix.rows * matrix.cols) * sizeof(float));
  for_each(team, matrix.rows, [&](int64_t row) {
    std::vector<float> out(static_cast<size_t>(matrix.cols));
    matrix.decode_row(row, out.data(), column_groups);
    const size_t bytes = out.size() * sizeof(float);
    std::memcpy(values.data() + static_cast<size_t>(row) * bytes, out.data(), bytes);
  });
  WeightMatrix decoded;
  decoded.format = WeightFormat::f32;
  decoded.rows = matrix.rows;
  decoded.cols = matrix.cols;
  return with_codes(std::move(decoded), std::move(values));
}

}  // namespace whittle
