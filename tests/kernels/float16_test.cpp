#include "kernels/float16.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

using namespace whittle;

namespace {

// Between each pair of neighbours: a little below the middle rounds down, a little above it up, the middle to
// the even one.
void check_f16_rounding() {
  int wrong = 0;
  for (uint16_t low = 0; low < 0x7bff; ++low) {
    const auto high = static_cast<uint16_t>(low + 1);
    const float a = f16_to_float(low), b = f16_to_float(high);
    const float middle = a + (b - a) / 2;  // exact: one bit more than the format has
    const float below = std::nextafter(middle, 0.0f), above = std::nextafter(middle, INFINITY);
    const uint16_t even = low % 2 == 0 ? low : high;
    for (const int sign : {0, 0x8000}) {
      const float s = sign ? -1.0f : 1.0f;
      wrong += float_to_f16(s * a) != (low | sign);
      wrong += float_to_f16(s * middle) != (even | sign);
      wrong += float_to_f16(s * below) != (low | sign);
      wrong += float_to_f16(s * above) != (high | sign);
    }
  }
  CHECK(wrong == 0);
}

}  // namespace

TEST_CASE("f16 rounds to nearest, ties to even") { check_f16_rounding(); }

TEST_CASE("bf16 rounds to nearest, ties to even") {
  int wrong = 0;
  for (uint32_t bits = 0; bits < 0x7f80; ++bits) {
    const auto value = static_cast<uint16_t>(bits);
    const uint32_t wide = bits << 16;
    wrong += float_to_bf16(bf16_to_float(value)) != value;
    wrong += float_to_bf16(std::bit_cast<float>(wide | 0x7fff)) != value;
    wrong += float_to_bf16(std::bit_cast<float>(wide | 0x8001)) != value + 1;
    wrong += float_to_bf16(std::bit_cast<float>(wide | 0x8000)) != value + (value & 1);
    wrong += float_to_bf16(std::bit_cast<float>(0x80000000u | wide | 0x8001)) != (value + 1) + 0x8000;
  }
  CHECK(wrong == 0);
}

TEST_CASE("known half-precision values") {
  CHECK(f16_to_float(0x3c00) == 1.0f);
  CHECK(f16_to_float(0xc000) == -2.0f);
  CHECK(f16_to_float(0x7bff) == 65504.0f);
  CHECK(f16_to_float(0x0001) == 0x1p-24f);
  CHECK(f16_to_float(0x0400) == 0x1p-14f);
  CHECK(std::signbit(f16_to_float(0x8000)));
  CHECK(bf16_to_float(0x3f80) == 1.0f);
  CHECK(float_to_bf16(-2.0f) == 0xc000);
}

TEST_CASE("what f16 holds exactly is told from what it rounds") {
  int wrong = 0;
  for (uint32_t half = 0; half < 0x10000; ++half) {
    const float value = f16_to_float(static_cast<uint16_t>(half));
    wrong += exact_in_f16(value) == std::isnan(value);
    if (!std::isfinite(value)) continue;
    wrong += exact_in_f16(std::nextafter(value, INFINITY));
    wrong += exact_in_f16(std::nextafter(value, -INFINITY));
    wrong += value != 0 && exact_in_f16(value * (1 + 0x1p-11f));  // by half a step to a whole one
  }
  CHECK(wrong == 0);
  for (const float value : {65520.0f, 65536.0f, 131072.0f, 0x1p-25f}) CHECK_FALSE(exact_in_f16(value));
}

TEST_CASE("infinities and NaNs stay what they are") {
  const float inf = std::numeric_limits<float>::infinity();
  CHECK(float_to_f16(inf) == 0x7c00);
  CHECK(float_to_f16(-inf) == 0xfc00);
  CHECK(float_to_f16(65519.996f) == 0x7bff);
  CHECK(float_to_f16(65520.0f) == 0x7c00);
  CHECK(float_to_f16(std::numeric_limits<float>::max()) == 0x7c00);
  CHECK(f16_to_float(0x7c00) == inf);
  CHECK(f16_to_float(0xfc00) == -inf);
  CHECK(float_to_bf16(inf) == 0x7f80);
  // A payload in the low bits alone must not turn a NaN into an infinity.
  for (const uint32_t bits : {0x7f800001u, 0xff800001u, 0x7fc00000u, 0x7fffffffu}) {
    CHECK(std::isnan(f16_to_float(float_to_f16(std::bit_cast<float>(bits)))));
    CHECK(std::isnan(bf16_to_float(float_to_bf16(std::bit_cast<float>(bits)))));
  }
  CHECK(std::isnan(f16_to_float(0x7c01)));
}
