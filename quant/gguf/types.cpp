#include "quant/gguf/types.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/float16.h"
#include "kernels/weight_format.h"

namespace whittle {

namespace {

constexpr int64_t block = 32;
constexpr float f16_limit = 65520;  // the first magnitude that rounds to infinity

void encode_f32(const float* values, int64_t cols, std::byte* row) {
  std::memcpy(row, values, static_cast<size_t>(cols) * sizeof(float));
}

void encode_f16(const float* values, int64_t cols, std::byte* row) {
  info(WeightFormat::f16).encode_row(values, cols, row);
}

// Writes the scale at the front of a block; the inverse of what will be read back, 0 where all values are 0.
float put_scale(float scale, std::byte* bytes) {
  const uint16_t half = float_to_f16(scale);
  std::memcpy(bytes, &half, sizeof half);
  const float stored = f16_to_float(half);
  return stored == 0 ? 0 : 1 / stored;
}

int to_code(float value, int low, int high) {
  return static_cast<int>(
      std::clamp(std::nearbyint(value), static_cast<float>(low), static_cast<float>(high)));
}

float largest(const float* values) {  // in magnitude, with its sign
  return *std::max_element(values, values + block,
                           [](float a, float b) { return std::abs(a) < std::abs(b); });
}

// Scale, then 32 codes of 8 bits.
void encode_q8_0(const float* values, int64_t cols, std::byte* row) {
  for (int64_t k = 0; k < cols; k += block, values += block, row += 2 + block) {
    const float inverse = put_scale(std::abs(largest(values)) / 127, row);
    for (int64_t i = 0; i < block; ++i)
      row[2 + i] = static_cast<std::byte>(to_code(values[i] * inverse, -127, 127));
  }
}

// Scale, then 16 bytes: code + 8 of value i in the low nibble of byte i, of value i + 16 in the high one. The
// largest magnitude gets the code −8, which has no counterpart: the scale takes its sign.
void encode_q4_0(const float* values, int64_t cols, std::byte* row) {
  constexpr int64_t half = block / 2;
  for (int64_t k = 0; k < cols; k += block, values += block, row += 2 + half) {
    const float inverse = put_scale(largest(values) / -8, row);
    const auto code = [&](int64_t i) {
      return static_cast<unsigned>(to_code(values[i] * inverse, -8, 7) + 8);
    };
    for (int64_t i = 0; i < half; ++i) row[2 + i] = static_cast<std::byte>(code(i) | code(i + half) << 4);
  }
}

constexpr GgufTypeInfo types[] = {
    {GgufType::f32, "f32", 0, 1, 4, std::numeric_limits<float>::infinity(), encode_f32},
    {GgufType::f16, "f16", 1, 1, 2, f16_limit, encode_f16},
    {GgufType::q8_0, "q8_0", 7, block, 2 + block, f16_limit * 127, encode_q8_0},
    {GgufType::q4_0, "q4_0", 2, block, 2 + block / 2, f16_limit * 8, encode_q4_0},
};

}  // namespace

std::span<const GgufTypeInfo> gguf_types() { return types; }

const GgufTypeInfo& info(GgufType type) {
  const auto found = std::ranges::find(types, type, &GgufTypeInfo::type);
  assert(found != std::end(types));
  return *found;
}

std::optional<GgufType> gguf_type_named(std::string_view name) {
  const auto found = std::ranges::find(types, name, &GgufTypeInfo::name);
  if (found == std::end(types)) return {};
  return found->type;
}

}  // namespace whittle
