#include "kernels/weight_format.h"

#include "tests/support/reference_kernels.h"

using namespace whittle;
using namespace whittle::test;

TEST_CASE("the table of formats is indexed by the enumerator and by name") {
  for (const WeightFormatInfo& format : weight_formats()) {
    CHECK(&info(format.format) == &format);
    CHECK(weight_format_named(format.name) == format.format);
  }
  CHECK_FALSE(weight_format_named("int3"));
  CHECK_FALSE(weight_format_named(""));
}

TEST_CASE("codes survive a row's encoding, and a row stays within its bytes") {
  Random random(1);
  for (const WeightFormatInfo& format : weight_formats())
    for (int64_t cols : {1, 2, 7, 8, 9, 31, 64, 65, 172}) {
      INFO(format.name << " " << cols);
      std::vector<float> codes(static_cast<size_t>(cols));
      for (size_t k = 0; k < codes.size(); ++k)  // every code at some column; floats: exact in bf16 and f16
        codes[k] = format.quantized
                       ? static_cast<float>(format.code_min +
                                            static_cast<int>(k * 7) % (format.code_max - format.code_min + 1))
                       : static_cast<float>(random.integer(-128, 127)) / 64;
      const auto size = static_cast<size_t>(row_bytes(format.format, cols));
      std::vector<std::byte> row(size + 1, std::byte{0xa5});
      format.encode_row(codes.data(), cols, row.data());
      CHECK(row[size] == std::byte{0xa5});
      std::vector<float> decoded(codes.size());
      format.decode_row(row.data(), cols, decoded.data());
      CHECK(decoded == codes);
    }
}

TEST_CASE("int4 rows are compressed-tensors words: little-endian nibbles in order, code + 8, zero padding") {
  const std::vector<float> codes = {-8, -7, 0, 1, 2, 3, 6, 7, -1};
  std::vector<std::byte> row(static_cast<size_t>(row_bytes(WeightFormat::int4, 9)));
  REQUIRE(row.size() == 8);
  info(WeightFormat::int4).encode_row(codes.data(), 9, row.data());
  uint32_t words[2];
  std::memcpy(words, row.data(), 8);
  CHECK(words[0] == 0xfeba9810u);
  CHECK(words[1] == 0x00000007u);
}

// Bit by bit: code k has the bits from k · b on, the lowest first, across bytes and words.
TEST_CASE(
    "rows of fewer than 8 bits are one stream of bits, in whole 32-bit words, the last filled with zeros") {
  Random random(2);
  for (const WeightFormatInfo& format : weight_formats())
    for (int64_t cols : {1, 3, 5, 6, 7, 8, 16, 31, 32, 33, 64, 172}) {
      CHECK(bit_packed(format.format) == (format.bits < 8));
      if (!bit_packed(format.format)) continue;
      INFO(format.name << " " << cols);
      std::vector<float> codes(static_cast<size_t>(cols));
      for (float& code : codes) code = static_cast<float>(random.integer(format.code_min, format.code_max));
      std::vector<std::byte> row(static_cast<size_t>(row_bytes(format.format, cols)), std::byte{0xff});
      CHECK(row.size() == static_cast<size_t>((cols * format.bits + 31) / 32 * 4));
      format.encode_row(codes.data(), cols, row.data());
      std::vector<std::byte> expected(row.size());
      for (int64_t k = 0; k < cols; ++k)
        for (int b = 0; b < format.bits; ++b) {
          const int stored = static_cast<int>(codes[static_cast<size_t>(k)]) - format.code_min;
          const int64_t at = k * format.bits + b;
          if (stored >> b & 1) expected[static_cast<size_t>(at / 8)] |= std::byte{1} << (at % 8);
        }
      CHECK(row == expected);
    }
}
