#pragma once
// How the numbers of a weight matrix are stored in a file. The table in weight_format.cpp is the whole truth
// about a format: the quantizer, the loader, the tests and the benches loop over it.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace whittle {

enum class WeightFormat : uint8_t { f32, f16, bf16, int8, int6, int5, int4 };

struct WeightFormatInfo {
  WeightFormat format;
  std::string_view name;   // as on the command line and in reports
  int bits;                // of one code, scales not included
  bool quantized;          // codes need a scale
  int code_min, code_max;  // of a quantized code
  // One row of `cols` values: codes as floats (before scale and zero point) to bytes and back. Codes of fewer
  // than 8 bits are one stream of bits, from the lowest of the first byte on, stored as code − code_min.
  void (*encode_row)(const float* codes, int64_t cols, std::byte* row);
  void (*decode_row)(const std::byte* row, int64_t cols, float* codes);
};

// Every format, indexed by the enumerator.
std::span<const WeightFormatInfo> weight_formats();
const WeightFormatInfo& info(WeightFormat format);
std::optional<WeightFormat> weight_format_named(std::string_view name);

// Whether codes share bytes with their neighbours.
bool bit_packed(WeightFormat format);

// Bytes of one stored row. Streams of bits are padded to whole 32-bit words, as compressed-tensors stores
// them.
int64_t row_bytes(WeightFormat format, int64_t cols);

}  // namespace whittle
