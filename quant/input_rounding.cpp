#include "quant/input_rounding.h"

#include <algorithm>
#include <cmath>

#include "engine/linear.h"
#include "kernels/packed_weight.h"

namespace whittle {

void InputRounding::add(const Team& team, FloatRows rows) {
  const int64_t group = group_size_ ? group_size_ : round_up(cols_, cols_block);
  LinearInput input(rows.rows, cols_, {group});
  std::vector<float> errors(static_cast<size_t>(rows.rows * cols_));
  team.for_each(rows.rows, [&](int64_t m) {
    std::copy_n(rows.values + m * rows.stride, cols_, input.row(m));
    input.quantize(m, cols_, group);
    const QuantizedRows codes = input.codes(rows.rows, cols_, group);
    for (int64_t k = 0; k < cols_; ++k) {
      const float rounded = static_cast<float>(codes.codes[m * codes.cols + k]) *
                            codes.scales[m * codes.groups() + k / codes.group_size];
      errors[static_cast<size_t>(m * cols_ + k)] = input.row(m)[k] - rounded;
    }
  });
  constexpr int64_t block = 64;  // columns
  team.for_each((cols_ + block - 1) / block, [&](int64_t of_columns) {
    for (int64_t m = 0; m < rows.rows; ++m)
      for (int64_t k = of_columns * block; k < std::min(cols_, (of_columns + 1) * block); ++k) {
        const auto error = static_cast<double>(errors[static_cast<size_t>(m * cols_ + k)]);
        squares_[static_cast<size_t>(k)] += error * error;
      }
  });
  rows_seen_ += rows.rows;
}

double InputRounding::relative_error(const WeightMatrix& weights, double power, const Team& team) const {
  if (!(power > 0) || rows_seen_ == 0) return 0;
  std::vector<double> of_rows(static_cast<size_t>(weights.rows));
  team.for_each(weights.rows, [&](int64_t row) {
    std::vector<float> values(static_cast<size_t>(cols_));
    weights.decode_row(row, values.data());
    for (size_t k = 0; k < values.size(); ++k)
      of_rows[static_cast<size_t>(row)] +=
          static_cast<double>(values[k]) * static_cast<double>(values[k]) * squares_[k];
  });
  double sum = 0;
  for (const double of_row : of_rows) sum += of_row;
  return std::sqrt(sum / static_cast<double>(rows_seen_) / power);
}

}  // namespace whittle
