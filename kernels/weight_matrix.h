#pragma once
// A weight exactly as it lies on disk: y[m, n] = sum over k of x[m, k] · w[n, k].

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels/threads.h"
#include "kernels/weight_format.h"

namespace whittle {

// Quantized codes stand for w[n, k] = (code − zero_point[n, g]) · scale[n, g] with g = k / group_size.
struct WeightMatrix {
  WeightFormat format = WeightFormat::f32;
  int64_t rows = 0;        // N, output features
  int64_t cols = 0;        // K, input features
  int64_t group_size = 0;  // inputs that share a scale; `cols` when a row has one scale; unused for floats
  // Row-major, rows × row_bytes(format, cols); borrowed, often from a mapped file, unless they lie in
  // `owned`.
  std::span<const std::byte> codes;
  std::shared_ptr<const std::vector<std::byte>> owned;
  std::vector<float> scales;        // [rows, groups()], empty for floats
  std::vector<int8_t> zero_points;  // [rows, groups()], empty when symmetric; within the code range

  int64_t groups() const { return group_size ? (cols + group_size - 1) / group_size : 0; }
  // The values that row `row` stands for, to out[cols]. column_groups: as for decode().
  void decode_row(int64_t row, float* out, std::span<const int32_t> column_groups = {}) const;
};

// These rows, in this order, in memory of their own.
WeightMatrix take_rows(const WeightMatrix& matrix, std::span<const int64_t> rows);
// A matrix of floats with rows and columns exchanged, in memory of its own.
WeightMatrix transpose(const WeightMatrix& matrix);
// The values as float32, in memory of their own. column_groups [cols]: which group's scale and zero point
// each column has; empty: those of k / group_size.
WeightMatrix decode(const WeightMatrix& matrix, std::span<const int32_t> column_groups, const Team* team);
// The matrix with codes of its own in place of those that it borrowed.
WeightMatrix with_codes(WeightMatrix matrix, std::vector<std::byte> codes);

}  // namespace whittle
