#include "engine/files/mask_bits.h"

#include <numeric>

#include "engine/files/tensor_checks.h"
#include "kernels/error.h"

namespace whittle {

std::vector<int64_t> count_marked(const std::byte* mask, int64_t rows, int64_t cols, const Team* team) {
  std::vector<int64_t> counts(static_cast<size_t>(rows));
  const int64_t stride = mask_row_bytes(cols);
  for_each(team, rows, [&](int64_t row) {
    int64_t count = 0;
    for (int64_t i = 0; i < stride; ++i) count += std::popcount(static_cast<uint8_t>(mask[row * stride + i]));
    counts[static_cast<size_t>(row)] = count;
  });
  return counts;
}

const TensorView& checked_mask(const TensorView& mask, int64_t rows, int64_t cols) {
  const int64_t stride = mask_row_bytes(cols), behind = cols % 8;
  expect(mask, DType::U8, {rows, stride});
  if (behind == 0) return mask;
  for (int64_t row = 0; row < rows; ++row)
    if (static_cast<unsigned>(mask.bytes[static_cast<size_t>((row + 1) * stride - 1)]) >> behind)
      fail("{}: row {} marks elements behind the last of {} columns", label(mask), row, cols);
  return mask;
}

std::vector<int64_t> sums_before(const std::vector<int64_t>& of_rows) {
  std::vector<int64_t> sums(of_rows.size() + 1);
  std::partial_sum(of_rows.begin(), of_rows.end(), sums.begin() + 1);
  return sums;
}

}  // namespace whittle
