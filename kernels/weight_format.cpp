#include "kernels/weight_format.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "kernels/float16.h"

namespace whittle {
namespace {

// The stored type of a format whose codes are whole elements.
template <typename Stored, Stored (*from_float)(float), float (*to_float)(Stored)>
struct ElementCodec {
  static void encode(const float* codes, int64_t cols, std::byte* row) {
    for (int64_t k = 0; k < cols; ++k) {
      const Stored stored = from_float(codes[k]);
      std::memcpy(row + k * static_cast<int64_t>(sizeof stored), &stored, sizeof stored);
    }
  }
  static void decode(const std::byte* row, int64_t cols, float* codes) {
    for (int64_t k = 0; k < cols; ++k) {
      Stored stored;
      std::memcpy(&stored, row + k * static_cast<int64_t>(sizeof stored), sizeof stored);
      codes[k] = to_float(stored);
    }
  }
};

float same(float value) { return value; }
int8_t float_to_int8(float code) { return static_cast<int8_t>(code); }
float int8_to_float(int8_t code) { return code; }

using F32 = ElementCodec<float, same, same>;
using F16 = ElementCodec<uint16_t, float_to_f16, f16_to_float>;
using BF16 = ElementCodec<uint16_t, float_to_bf16, bf16_to_float>;
using Int8 = ElementCodec<int8_t, float_to_int8, int8_to_float>;

// Eight codes fill whole bytes, as many as a code has bits.
template <WeightFormat format, int bits>
struct BitStream {
  static constexpr int64_t block = 8;
  static constexpr int offset = 1 << (bits - 1);
  static int64_t bytes_of(int64_t count) { return (count * bits + 7) / 8; }

  static void encode(const float* codes, int64_t cols, std::byte* row) {
    std::memset(row, 0, static_cast<size_t>(row_bytes(format, cols)));
    for (int64_t k = 0; k < cols; k += block, row += bits) {
      const int64_t count = std::min(block, cols - k);
      uint64_t stored = 0;
      for (int64_t i = 0; i < count; ++i)
        stored |= static_cast<uint64_t>(static_cast<int>(codes[k + i]) + offset) << (i * bits);
      std::memcpy(row, &stored, static_cast<size_t>(bytes_of(count)));
    }
  }
  static void decode(const std::byte* row, int64_t cols, float* codes) {
    for (int64_t k = 0; k < cols; k += block, row += bits) {
      const int64_t count = std::min(block, cols - k);
      uint64_t stored = 0;
      std::memcpy(&stored, row, static_cast<size_t>(bytes_of(count)));
      for (int64_t i = 0; i < count; ++i)
        codes[k + i] =
            static_cast<float>(static_cast<int>(stored >> (i * bits) & ((1u << bits) - 1)) - offset);
    }
  }
};

using Int6 = BitStream<WeightFormat::int6, 6>;
using Int5 = BitStream<WeightFormat::int5, 5>;
using Int4 = BitStream<WeightFormat::int4, 4>;

constexpr std::array<WeightFormatInfo, 7> formats = {{
    {WeightFormat::f32, "f32", 32, false, 0, 0, F32::encode, F32::decode},
    {WeightFormat::f16, "f16", 16, false, 0, 0, F16::encode, F16::decode},
    {WeightFormat::bf16, "bf16", 16, false, 0, 0, BF16::encode, BF16::decode},
    {WeightFormat::int8, "int8", 8, true, -128, 127, Int8::encode, Int8::decode},
    {WeightFormat::int6, "int6", 6, true, -32, 31, Int6::encode, Int6::decode},
    {WeightFormat::int5, "int5", 5, true, -16, 15, Int5::encode, Int5::decode},
    {WeightFormat::int4, "int4", 4, true, -8, 7, Int4::encode, Int4::decode},
}};

}  // namespace

std::span<const WeightFormatInfo> weight_formats() { return formats; }

const WeightFormatInfo& info(WeightFormat format) { return formats[static_cast<size_t>(format)]; }

std::optional<WeightFormat> weight_format_named(std::string_view name) {
  for (const WeightFormatInfo& row : formats)
    if (row.name == name) return row.format;
  return std::nullopt;
}

bool bit_packed(WeightFormat format) { return info(format).bits < 8; }

int64_t row_bytes(WeightFormat format, int64_t cols) {
  const int64_t bits = cols * info(format).bits;
  return bit_packed(format) ? (bits + 31) / 32 * 4 : bits / 8;
}

}  // namespace whittle
