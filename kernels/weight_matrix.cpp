#include "kernels/weight_matrix.h"

namespace whittle {

void WeightMatrix::decode_row(int64_t row, float* out) const {
  info(format).decode_row(codes.data() + row * row_bytes(format, cols), cols, out);
  const int64_t row_groups = groups();
  for (int64_t k = 0; row_groups && k < cols; ++k) {
    const auto at = static_cast<size_t>(row * row_groups + k / group_size);
    const float zero_point = zero_points.empty() ? 0.0f : zero_points[at];
    out[k] = (out[k] - zero_point) * scales[at];
  }
}

}  // namespace whittle
