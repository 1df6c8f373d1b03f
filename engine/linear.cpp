#include "engine/linear.h"

#include <algorithm>
#include <cassert>

#include "kernels/matmul.h"

namespace whittle {

LinearInput::LinearInput(int64_t rows, int64_t cols, const std::vector<int64_t>& group_sizes)
    : stride_(round_up(cols, panel_rows) + float_block), floats_(rows * stride_) {
  for (const int64_t group_size : group_sizes) {
    if (group_size == 0) continue;
    const int64_t groups = (stride_ + group_size - 1) / group_size;
    codes_.push_back({group_size, Buffer<int8_t>(rows * stride_), Buffer<float>(rows * groups),
                      Buffer<int32_t>(rows * groups)});
  }
}

QuantizedRows LinearInput::codes(int64_t rows, int64_t cols, int64_t group_size) const {
  const auto found = std::find_if(codes_.begin(), codes_.end(),
                                  [&](const Codes& codes) { return codes.group_size == group_size; });
  assert(found != codes_.end());
  auto& [size, codes, scales, sums] = const_cast<Codes&>(*found);
  const int64_t padded = round_up(cols, cols_block);
  return {rows, padded, std::min(size, padded), codes.data(), scales.data(), sums.data()};
}

void LinearInput::quantize(int64_t m, int64_t cols, int64_t group_size) {
  if (group_size) kernels().quantize_row(row(m), cols, codes(m + 1, cols, group_size), m);
}

void apply(const Linear& linear, const LinearInput& input, int64_t rows, Range panels, MatmulOutput y) {
  const PackedWeight& w = linear.weight;
  if (panels.size() <= 0) return;
  if (w.quantized())
    matmul(w, input.codes(rows, w.cols, linear.activation_group_size), panels, y);
  else
    kernels().matmul_float(w, input.floats(rows), panels, y);
  if (linear.bias.empty()) return;
  const int64_t first = panels.begin * panel_rows;
  for (int64_t m = 0; m < rows; ++m)
    kernels().add(y.values + m * y.stride + first, linear.bias.data() + first, panels.size() * panel_rows);
}

}  // namespace whittle
