#include "quant/format_times.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "engine/files/interrupts.h"
#include "engine/linear.h"
#include "quant/quantized_matrix.h"

namespace whittle {
namespace {

constexpr int64_t out_of_cache = int64_t{64} << 20;  // bytes
constexpr int64_t most_copies = 512;                 // of matrices so small that others' time hides theirs
constexpr int passes = 9;                            // the first is not counted

}  // namespace

int64_t FormatTimes::nanoseconds(const QuantizationScheme& scheme, int64_t rows, int64_t cols) {
  const auto [found, missing] = known_.try_emplace(
      {scheme.format, scheme.group_size, scheme.activation_group_size, scheme.symmetric, rows, cols}, 0);
  if (missing) found->second = measure(scheme, rows, cols);
  return found->second;
}

int64_t FormatTimes::measure(const QuantizationScheme& scheme, int64_t rows, int64_t cols) const {
  check_interrupted();
  // What the codes are makes no difference.
  QuantizedMatrix matrix = empty_matrix(scheme, rows, cols, scale_dtype(scheme));
  std::ranges::fill(matrix.matrix.scales, 1.0f);
  std::vector<Linear> copies;
  const int64_t bytes = pack(matrix.matrix).bytes();
  const int64_t count = std::clamp(out_of_cache / bytes, int64_t{2}, most_copies);
  while (std::ssize(copies) < count)
    copies.emplace_back(pack(matrix.matrix), std::vector<float>(), scheme.activation_group_size);
  const int64_t group_size = copies.front().activation_group_size();
  LinearInput input(1, cols, {group_size});
  std::fill_n(input.row(0), cols, 1.0f);
  input.quantize(0, cols, group_size);
  Buffer<float> outputs(copies.front().padded_rows());
  std::vector<int64_t> times;
  for (int pass = 0; pass < passes; ++pass) {
    const auto begin = std::chrono::steady_clock::now();
    team_.run([&](const Worker& worker) {
      for (const Linear& linear : copies)
        worker.hand_out(linear.panels(), [&](Range panels) {
          linear.multiply(input, 1, panels, {outputs.data(), linear.padded_rows()});
        });
    });
    const std::chrono::nanoseconds taken = std::chrono::steady_clock::now() - begin;
    if (pass > 0) times.push_back(taken.count() / std::ssize(copies));
  }
  std::ranges::sort(times);
  return std::max<int64_t>(1, times[times.size() / 2]);
}

}  // namespace whittle
