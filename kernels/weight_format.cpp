#include "kernels/weight_format.h"

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

struct Int4 {
  static void encode(const float* codes, int64_t cols, std::byte* row) {
    std::memset(row, 0, static_cast<size_t>(row_bytes(WeightFormat::int4, cols)));
    for (int64_t k = 0; k < cols; ++k) {
      const auto nibble = static_cast<unsigned>(static_cast<int>(codes[k]) + 8);
      row[k / 2] |= static_cast<std::byte>(nibble << (k % 2 * 4));
    }
  }
  static void decode(const std::byte* row, int64_t cols, float* codes) {
    for (int64_t k = 0; k < cols; ++k)
      codes[k] = static_cast<float>(std::to_integer<int>(row[k / 2] >> (k % 2 * 4)) % 16 - 8);
  }
};

constexpr std::array<WeightFormatInfo, 5> formats = {{
    {WeightFormat::f32, "f32", 32, false, 0, 0, F32::encode, F32::decode},
    {WeightFormat::f16, "f16", 16, false, 0, 0, F16::encode, F16::decode},
    {WeightFormat::bf16, "bf16", 16, false, 0, 0, BF16::encode, BF16::decode},
    {WeightFormat::int8, "int8", 8, true, -128, 127, Int8::encode, Int8::decode},
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

int64_t row_bytes(WeightFormat format, int64_t cols) {
  if (format == WeightFormat::int4) return (cols + 7) / 8 * 4;
  return cols * info(format).bits / 8;
}

}  // namespace whittle
