#include "kernels/float16.h"

#include "tests/support/reference_kernels.h"

using namespace whittle;
using namespace whittle::test;

namespace {

// The number that sign, exponent and mantissa fields stand for, in double.
double value_of(uint32_t bits, int exponent_bits, int mantissa_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = static_cast<int>(bits >> mantissa_bits) & ((1 << exponent_bits) - 1);
  const int mantissa = static_cast<int>(bits) & ((1 << mantissa_bits) - 1);
  const double sign = (bits >> (exponent_bits + mantissa_bits)) & 1 ? -1 : 1;
  if (exponent == (1 << exponent_bits) - 1) return mantissa ? std::nan("") : sign * HUGE_VAL;
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - bias - mantissa_bits);
  return sign * std::ldexp((1 << mantissa_bits) + mantissa, exponent - bias - mantissa_bits);
}

struct Half {
  const char* name;
  int exponent_bits, mantissa_bits;
  float (*to_float)(uint16_t);
  uint16_t (*from_float)(float);
};
constexpr Half halves[] = {{"f16", 5, 10, f16_to_float, float_to_f16},
                           {"bf16", 8, 7, bf16_to_float, float_to_bf16}};

}  // namespace

TEST_CASE("every half is the number that its fields say, and comes back unchanged") {
  for (const Half& half : halves)
    for (uint32_t bits = 0; bits < 0x10000; ++bits) {
      const double expected = value_of(bits, half.exponent_bits, half.mantissa_bits);
      const float found = half.to_float(static_cast<uint16_t>(bits));
      const bool same = std::isnan(expected)
                            ? std::isnan(found)
                            : found == expected && std::signbit(found) == std::signbit(expected);
      const uint16_t back = half.from_float(found);
      const bool returns = std::isnan(expected) ? std::isnan(half.to_float(back)) : back == bits;
      if (!same || !returns)
        FAIL(half.name << " " << bits << " gives " << found << " and comes back as " << back);
    }
}

TEST_CASE("floats round to the nearest half, ties to even") {
  for (const Half& half : halves) {
    const uint32_t infinity = ((1u << half.exponent_bits) - 1) << half.mantissa_bits;
    for (uint32_t bits = 0; bits < infinity; ++bits) {
      const double low = value_of(bits, half.exponent_bits, half.mantissa_bits);
      // Past the largest half stands the power of two that would follow it.
      const double high = bits + 1 < infinity ? value_of(bits + 1, half.exponent_bits, half.mantissa_bits)
                                              : std::ldexp(1, 1 << (half.exponent_bits - 1));
      const auto middle = static_cast<float>((low + high) / 2);
      if (static_cast<double>(middle) != (low + high) / 2) continue;  // bf16's smallest: no float between
      const uint32_t even = bits % 2 ? bits + 1 : bits;
      const bool below = half.from_float(std::nextafterf(middle, 0)) == bits;
      const bool above = half.from_float(std::nextafterf(middle, HUGE_VALF)) == bits + 1;
      const bool tie = half.from_float(middle) == even && half.from_float(-middle) == (even | 0x8000);
      if (!below || !above || !tie) FAIL(half.name << " around " << middle << ": " << below << above << tie);
    }
    CHECK(half.from_float(HUGE_VALF) == infinity);
    CHECK(std::isnan(half.to_float(half.from_float(std::nanf("")))));
  }
  CHECK(float_to_f16(3.0e38f) == 0x7c00);
}
