#include "kernels/weight_format.h"

#include <algorithm>
#include <cstring>

#include "kernels/float16.h"

namespace whittle {

namespace {

void encode_f32(const float* codes, int64_t cols, std::byte* row) {
  std::memcpy(row, codes, static_cast<size_t>(cols) * sizeof(float));
}
void decode_f32(const std::byte* row, int64_t cols, float* codes) {
  std::memcpy(codes, row, static_cast<size_t>(cols) * sizeof(float));
}

// Rows may lie at any address.
template <uint16_t (*to_bits)(float)>
void encode_16(const float* codes, int64_t cols, std::byte* row) {
  for (int64_t k = 0; k < cols; ++k) {
    const uint16_t bits = to_bits(codes[k]);
    std::memcpy(row + 2 * k, &bits, 2);
  }
}
template <float (*to_float)(uint16_t)>
void decode_16(const std::byte* row, int64_t cols, float* codes) {
  for (int64_t k = 0; k < cols; ++k) {
    uint16_t bits = 0;
    std::memcpy(&bits, row + 2 * k, 2);
    codes[k] = to_float(bits);
  }
}

void encode_int8(const float* codes, int64_t cols, std::byte* row) {
  for (int64_t k = 0; k < cols; ++k) row[k] = static_cast<std::byte>(static_cast<int8_t>(codes[k]));
}
void decode_int8(const std::byte* row, int64_t cols, float* codes) {
  for (int64_t k = 0; k < cols; ++k) codes[k] = static_cast<float>(static_cast<int8_t>(row[k]));
}

void encode_int4(const float* codes, int64_t cols, std::byte* row) {
  std::fill_n(row, row_bytes(WeightFormat::int4, cols), std::byte{0});
  for (int64_t k = 0; k < cols; ++k) {
    row[k / 2] |= static_cast<std::byte>((static_cast<int>(codes[k]) + 8) << (k % 2 * 4));
  }
}
void decode_int4(const std::byte* row, int64_t cols, float* codes) {
  for (int64_t k = 0; k < cols; ++k) {
    codes[k] = static_cast<float>((static_cast<int>(row[k / 2]) >> (k % 2 * 4) & 15) - 8);
  }
}

constexpr WeightFormatInfo formats[] = {
    {WeightFormat::f32, "f32", 32, false, 0, 0, encode_f32, decode_f32},
    {WeightFormat::f16, "f16", 16, false, 0, 0, encode_16<float_to_f16>, decode_16<f16_to_float>},
    {WeightFormat::bf16, "bf16", 16, false, 0, 0, encode_16<float_to_bf16>, decode_16<bf16_to_float>},
    {WeightFormat::int8, "int8", 8, true, -128, 127, encode_int8, decode_int8},
    {WeightFormat::int4, "int4", 4, true, -8, 7, encode_int4, decode_int4},
};

}  // namespace

std::span<const WeightFormatInfo> weight_formats() {
  return formats;
}

const WeightFormatInfo& info(WeightFormat format) {
  return formats[static_cast<size_t>(format)];
}

std::optional<WeightFormat> weight_format_named(std::string_view name) {
  const auto found = std::ranges::find(formats, name, &WeightFormatInfo::name);
  if (found == std::end(formats)) return {};
  return found->format;
}

int64_t row_bytes(WeightFormat format, int64_t cols) {
  const int64_t bits = cols * info(format).bits;
  return format == WeightFormat::int4 ? (bits + 31) / 32 * 4 : bits / 8;
}

}  // namespace whittle
