#include "engine/linear.h"

#include <algorithm>
#include <cassert>

#include "kernels/matmul.h"

namespace whittle {
namespace {

int64_t groups_of(int64_t stride, int64_t group_size) { return (stride + group_size - 1) / group_size; }

}  // namespace

int64_t activation_group_size(const PackedLayout& weight, int64_t asked) {
  if (!weight.quantized()) return 0;
  // Groups of weights are finer than what a file may ask for its activations: their scales meet group by
  // group.
  if (!weight.row_scaled()) return weight.group_size;
  return asked ? round_up(asked, group_multiple(weight.format)) : weight.padded_cols;
}

Linear::Linear(PackedWeight weight, std::vector<float> bias, int64_t activation_group_size,
               const PackingChoice& choice)
    : weight_(std::move(weight)),
      bias_(std::move(bias)),
      activation_group_size_(whittle::activation_group_size(weight_, activation_group_size)),
      choice_(choice) {
  if (!bias_.empty()) bias_.resize(static_cast<size_t>(weight_.padded_rows()));
}

LinearInput::LinearInput(int64_t rows, int64_t cols, const std::vector<int64_t>& group_sizes)
    : stride_(stride_of(cols)), floats_(rows * stride_) {
  for (const int64_t group_size : group_sizes) {
    if (group_size == 0) continue;
    const int64_t groups = groups_of(stride_, group_size);
    codes_.push_back({group_size, Buffer<int8_t>(rows * stride_), Buffer<float>(rows * groups),
                      Buffer<int32_t>(rows * groups)});
  }
}

int64_t LinearInput::bytes(int64_t rows, int64_t cols, const std::vector<int64_t>& group_sizes) {
  const int64_t stride = stride_of(cols);
  int64_t row = stride * static_cast<int64_t>(sizeof(float));
  for (const int64_t group_size : group_sizes)
    if (group_size)
      row += stride + groups_of(stride, group_size) * static_cast<int64_t>(sizeof(float) + sizeof(int32_t));
  return rows * row;
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

void Linear::multiply(const LinearInput& input, int64_t rows, Range panels, MatmulOutput y) const {
  if (panels.size() <= 0) return;
  if (quantized())
    matmul(weight_, input.codes(rows, weight_.cols, activation_group_size_), panels, y);
  else
    kernels().matmul_float(weight_, input.floats(rows), panels, y);
  if (bias_.empty()) return;
  const int64_t first = panels.begin * panel_rows;
  for (int64_t m = 0; m < rows; ++m)
    kernels().add(y.values + m * y.stride + first, bias_.data() + first, panels.size() * panel_rows);
}

void Linear::prepare(int64_t rows) const {
  if (quantized()) prepare_matmul(weight_, rows, activation_group_size_);
}

Work Linear::work(int64_t rows, Range panels) const {
  const int64_t bytes = weight_.bytes_of(panels);
  const int64_t operations = 2 * rows * panels.size() * panel_rows * weight_.cols;
  return quantized() ? Work{bytes, operations, 0} : Work{bytes, 0, operations};
}

}  // namespace whittle
