#include "engine/files/word_codes.h"

#include <algorithm>

#include "engine/files/float_tensor.h"
#include "engine/files/model_file.h"
#include "engine/files/tensor_checks.h"
#include "kernels/error.h"

namespace whittle {

WordPacked find_word_packed(const ModelFile& file, const std::string& module) {
  return {file.get(module + ".qweight"), file.get(module + ".qzeros"), file.get(module + ".scales")};
}

void check_whole_words(const TensorView& qweight, int64_t rows, int64_t cols, int64_t per_word) {
  if (rows % per_word != 0 || cols % per_word != 0)
    fail("{}: {} outputs and {} inputs do not fill words of {} codes", label(qweight), rows, cols, per_word);
}

std::vector<float> read_transposed_scales(const TensorView& tensor, int64_t rows, int64_t groups) {
  if (!float_format(tensor.dtype) || tensor.shape != std::vector{groups, rows})
    fail("{}: expected F16, BF16 or F32 [{}, {}], found {} {}", label(tensor), groups, rows,
         name(tensor.dtype), shape_text(tensor.shape));
  const std::vector<float> stored = read_finite_scales(tensor);
  std::vector<float> scales(stored.size());
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t group = 0; group < groups; ++group)
      scales[static_cast<size_t>(row * groups + group)] = stored[static_cast<size_t>(group * rows + row)];
  return scales;
}

std::vector<int8_t> checked_word_packed_zeros(const TensorView& qzeros, std::vector<int8_t> zero_points,
                                              int64_t groups, bool symmetric) {
  if (std::ranges::all_of(zero_points, [](int8_t value) { return value == 0; })) return {};
  return checked_zero_points(qzeros, std::move(zero_points), groups, symmetric);
}

void transpose_words(std::span<const std::byte> words, int64_t rows, int64_t cols, uint32_t turned,
                     std::byte* out, const Team* team) {
  // In squares whose sides are a cache line, a band of output rows for each thread at a time.
  constexpr int64_t square = 16;
  for_each(team, (cols + square - 1) / square, [&](int64_t band) {
    const int64_t first = band * square, end = std::min(first + square, cols);
    for (int64_t r0 = 0; r0 < rows; r0 += square)
      for (int64_t c = first; c < end; ++c)
        for (int64_t r = r0; r < std::min(r0 + square, rows); ++r) {
          uint32_t word = 0;
          std::memcpy(&word, words.data() + (r * cols + c) * 4, sizeof word);
          word ^= turned;
          std::memcpy(out + (c * rows + r) * 4, &word, sizeof word);
        }
  });
}

}  // namespace whittle
