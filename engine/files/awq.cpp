#include "engine/files/awq.h"

#include <algorithm>

#include "engine/files/model_file.h"
#include "engine/files/quantization_fields.h"
#include "engine/files/tensor_checks.h"
#include "engine/files/word_codes.h"
#include "kernels/error.h"

namespace whittle {

namespace {

constexpr int64_t per_word = 8;
// Which of a word's outputs its nibbles belong to, from the lowest on, and the other way round.
constexpr int64_t output_of[per_word] = {0, 2, 4, 6, 1, 3, 5, 7};
constexpr int64_t nibble_of[per_word] = {0, 4, 1, 5, 2, 6, 3, 7};

// Nibble j of word i and nibble i of word j change places.
void transpose_nibbles(uint32_t (&words)[per_word]) {
  struct Swap {
    size_t distance;
    uint32_t low;
  };
  constexpr Swap swaps[] = {{4, 0x0000ffffu}, {2, 0x00ff00ffu}, {1, 0x0f0f0f0fu}};
  for (const auto& [distance, low] : swaps)
    for (size_t i = 0; i < per_word; ++i) {
      if (i & distance) continue;
      const size_t shift = 4 * distance;
      const uint32_t changed = ((words[i] >> shift) ^ words[i + distance]) & low;
      words[i + distance] ^= changed;
      words[i] ^= changed << shift;
    }
}

}  // namespace

QuantizationTarget read_awq_config(const JsonFields& fields) {
  check_word_packed_fields(
      fields, {"quant_method", "method", "bits", "group_size", "zero_point", "version", "checkpoint_format",
               "format", "backend", "pack_dtype", "desc_act", "sym"});
  check_choice(fields, "method", {"awq"});
  for (const char* field : {"version", "checkpoint_format", "format"}) check_choice(fields, field, {"gemm"});
  check_choice(fields, "backend", {"autoawq", "auto"});
  check_choice(fields, "pack_dtype", {"int32"});
  fields.integer("bits", 4, 4);
  if (!fields.boolean("zero_point", true)) fields.reject("zero_point", "expected true");
  if (fields.boolean("desc_act", false)) fields.reject("desc_act", "expected false");
  QuantizationScheme scheme;
  scheme.layout = CodeLayout::awq;
  scheme.format = WeightFormat::int4;
  scheme.symmetric = fields.boolean("sym", false);
  read_word_packed_group_size(fields, scheme);
  return all_linears(fields, scheme);
}

WeightMatrix read_awq(const ModelFile& file, const std::string& module, const QuantizationScheme& scheme,
                      int64_t rows, int64_t cols, const Team* team) {
  const auto& [qweight, qzeros, scales] = find_word_packed(file, module);
  const int64_t words = rows / per_word;
  check_whole_words(qweight, rows, per_word, per_word);
  expect(qweight, DType::I32, {cols, words});
  WeightMatrix weight;
  weight.format = scheme.format;
  weight.rows = rows;
  weight.cols = cols;
  weight.group_size = checked_group_size(scales, scheme.format, scheme.group_size, cols);
  if (cols % weight.group_size != 0)
    fail("{}: field \"group_size\" of quantization_config: {} inputs are no multiple of {}", label(scales),
         cols, weight.group_size);
  weight.scales = read_transposed_scales(scales, rows, weight.groups());

  expect(qzeros, DType::I32, {weight.groups(), words});
  std::vector<int8_t> zeros(weight.scales.size());
  for (int64_t group = 0; group < weight.groups(); ++group)
    for (int64_t row = 0; row < rows; ++row)
      zeros[static_cast<size_t>(row * weight.groups() + group)] =
          signed_code(word_at(qzeros, group * words + row / per_word), nibble_of[row % per_word], 4);
  weight.zero_points = checked_word_packed_zeros(qzeros, std::move(zeros), weight.groups(), scheme.symmetric);

  const int64_t stride = row_bytes(WeightFormat::int4, cols);
  std::vector<std::byte> codes(static_cast<size_t>(rows * stride));
  // Bands of sixteen words, a cache line of each input.
  constexpr int64_t band = 16;
  for_each(team, (words + band - 1) / band, [&](int64_t b) {
    for (int64_t k = 0; k < cols; k += per_word)
      for (int64_t word = b * band; word < std::min(words, (b + 1) * band); ++word) {
        uint32_t block[per_word] = {};
        for (int64_t i = 0; i < std::min(per_word, cols - k); ++i)
          block[i] = word_at(qweight, (k + i) * words + word);
        transpose_nibbles(block);
        for (int64_t j = 0; j < per_word; ++j)
          std::memcpy(codes.data() + (word * per_word + output_of[j]) * stride + k / per_word * 4, &block[j],
                      4);
      }
  });
  file.drop_pages(qweight.bytes);
  return with_codes(std::move(weight), std::move(codes));
}

}  // namespace whittle
