#pragma once
// Codes in 32-bit words of tensors: what the layouts that pack them so have in common.

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "engine/files/safetensors.h"
#include "kernels/threads.h"

namespace whittle {

class ModelFile;

inline uint32_t word_at(const TensorView& tensor, int64_t index) {
  uint32_t word = 0;
  std::memcpy(&word, tensor.bytes.data() + index * 4, sizeof word);
  return word;
}

// Code `index` of a word, of 4 or 8 bits without a sign, as ours: less 2^(bits − 1).
inline int8_t signed_code(uint32_t word, int64_t index, int64_t bits) {
  const auto code = static_cast<int>(word >> (index * bits) & ((1u << bits) - 1));
  return static_cast<int8_t>(code - (1 << (bits - 1)));
}

// The tensors of a module of GPTQ or AWQ. Throws Error when one is missing.
struct WordPacked {
  const TensorView &qweight, &qzeros, &scales;
};
WordPacked find_word_packed(const ModelFile& file, const std::string& module);

// Throws Error unless outputs and inputs fill whole words.
void check_whole_words(const TensorView& qweight, int64_t rows, int64_t cols, int64_t per_word);

// F16, BF16 or F32 [groups, rows], as [rows, groups].
std::vector<float> read_transposed_scales(const TensorView& tensor, int64_t rows, int64_t groups);

// Zero points [rows, groups] as kernels want them: none where all are 0, as those of symmetric quantization
// are (stored as the middle of the range). Throws Error when one is not although it is `symmetric`.
std::vector<int8_t> checked_word_packed_zeros(const TensorView& qzeros, std::vector<int8_t> zero_points,
                                              int64_t groups, bool symmetric);

// Words [rows, cols] with `turned` bits changed, to out[cols, rows].
void transpose_words(std::span<const std::byte> words, int64_t rows, int64_t cols, uint32_t turned,
                     std::byte* out, const Team* team);

}  // namespace whittle
