#include "kernels/packed_weight.h"

#include <dnnl.hpp>
#include <string>

#include "kernels/error.h"
#include "tests/support/reference_kernels.h"

using namespace whittle;
using namespace whittle::test;

TEST_CASE("a packed row decodes to exactly what the file says") {
  Random random(2);
  for (const WeightFormatInfo& format : weight_formats())
    for (auto [rows, cols] : std::initializer_list<std::pair<int64_t, int64_t>>{
             {1, 1}, {3, 3}, {31, 33}, {33, 31}, {64, 64}, {65, 65}, {130, 172}, {5, 576}})
      for (int64_t group :
           format.quantized ? std::vector<int64_t>{0, 8, 16, 24, 32, 128} : std::vector<int64_t>{0})
        for (bool asymmetric : {false, true})
          for (bool f16_scales : {false, true}) {
            if (!format.quantized && (asymmetric || f16_scales)) continue;
            if (group && group < cols && !packable_group_size(format.format, group)) continue;
            const WeightSpec spec{format.format, rows, cols, group, asymmetric, f16_scales};
            INFO(spec.name());
            const OwnedWeight weight = make_weight(spec, random);
            const PackedWeight packed = pack(weight.matrix);
            CHECK(packed.f16_scales == (f16_scales && !packed.row_scaled() && format.quantized));
            CHECK(packed.has_zero_points == asymmetric);
            std::vector<float> decoded(static_cast<size_t>(cols));
            for (int64_t n = 0; n < rows; ++n) {
              packed.decode_row(n, decoded.data());
              const std::string found = difference(decoded, weight.values(n));
              if (!found.empty()) FAIL("row " << n << ", " << found);
            }
            for (int64_t n = 0; n < packed.row_sums.size(); ++n) {
              double sum = 0;
              if (n < rows)
                for (float code : weight.codes(n)) sum += code;
              if (packed.row_sums[n] != sum)
                FAIL("row sum " << n << ": " << packed.row_sums[n] << ", not " << sum);
            }
          }
}

TEST_CASE("panels may be packed in any order") {
  Random random(3);
  for (WeightFormat format : code_formats()) {
    const OwnedWeight weight = make_weight({format, 200, 100, 32, true}, random);
    const PackedWeight packed = pack(weight.matrix);
    Packer packer(weight.matrix);
    for (int64_t p = packer.panel_count(); p-- > 0;) packer.pack(p);
    const PackedWeight other = packer.take();
    REQUIRE(other.panels.size() == packed.panels.size());
    CHECK(std::memcmp(other.panels.data(), packed.panels.data(), packed.panels.bytes()) == 0);
  }
}

// By the picture in packed_weight.h, bit by bit.
TEST_CASE("a panel of int6 has the fourth line, one of int5 the last three, in the top bits of the others") {
  Random random(7);
  const auto bit = [](uint32_t value, int at) { return value >> at & 1; };
  // Where bit `bit` of line `line` stands: a line that is kept, and the bit there.
  struct Place {
    int line, bit, kept, at;
  };
  const std::vector<Place> six = {{3, 0, 0, 6}, {3, 1, 0, 7}, {3, 2, 1, 6},
                                  {3, 3, 1, 7}, {3, 4, 2, 6}, {3, 5, 2, 7}};
  const std::vector<Place> five = {{5, 0, 0, 5}, {5, 1, 0, 6}, {5, 2, 0, 7}, {5, 3, 1, 5}, {5, 4, 1, 6},
                                   {6, 0, 2, 5}, {6, 1, 2, 6}, {6, 2, 2, 7}, {6, 3, 3, 5}, {6, 4, 3, 6},
                                   {7, 0, 4, 5}, {7, 1, 4, 6}, {7, 2, 4, 7}, {7, 3, 1, 7}, {7, 4, 3, 7}};
  for (const auto& [format, bits, places] :
       {std::tuple(WeightFormat::int6, 6, six), std::tuple(WeightFormat::int5, 5, five)}) {
    const OwnedWeight weight = make_weight({format, 64, 64}, random);
    const PackedWeight packed = pack(weight.matrix);
    const int kept = bits == 6 ? 3 : 5, lines = bits == 6 ? 4 : 8;
    for (int r = 0; r < 64; ++r) {
      const std::vector<float> codes = weight.codes(r);
      for (int k = 0; k < 64; ++k) {
        const int unit = k / (4 * lines), line = k / 4 % lines;
        const auto stored =
            static_cast<uint32_t>(static_cast<int>(codes[static_cast<size_t>(k)]) + (1 << (bits - 1)));
        const auto byte = [&](int of) {
          return std::to_integer<uint32_t>(packed.panels[(unit * kept + of) * 256 + r * 4 + k % 4]);
        };
        for (int b = 0; b < bits && line < kept; ++b) CHECK(bit(byte(line), b) == bit(stored, b));
        for (const Place& place : places)
          if (place.line == line) CHECK(bit(byte(place.kept), place.at) == bit(stored, place.bit));
      }
    }
  }
}

TEST_CASE("a weight's bytes are counted whole") {
  Random random(4);
  const PackedWeight grouped = pack(make_weight({WeightFormat::int4, 128, 256, 32}, random).matrix);
  CHECK(grouped.bytes() == 128 * 256 / 2 + 128 * 8 * 2);  // codes, and an f16 scale for 32 of them
  const PackedWeight six = pack(make_weight({WeightFormat::int6, 128, 256, 32}, random).matrix);
  CHECK(six.bytes() == 128 * 256 * 6 / 8 + 128 * 8 * 2);
  const PackedWeight five = pack(make_weight({WeightFormat::int5, 128, 256}, random).matrix);
  CHECK(five.bytes() == 128 * 256 * 5 / 8 + 128 * 4);
  const PackedWeight by_row = pack(make_weight({WeightFormat::int8, 128, 256}, random).matrix);
  CHECK(by_row.bytes() == 128 * 256 + 128 * 4 + 128 * 4);  // codes, scales, sums
}

// oneDNN's own reorder of the same matrix is the witness.
TEST_CASE("int8 panels with one scale a row are oneDNN's blocked layout BA16a64b4a") {
  Random random(5);
  for (auto [rows, cols] :
       std::initializer_list<std::pair<int64_t, int64_t>>{{64, 64}, {65, 65}, {130, 300}, {3, 1}}) {
    INFO(rows << "x" << cols);
    const OwnedWeight weight = make_weight({WeightFormat::int8, rows, cols}, random);
    const PackedWeight packed = pack(weight.matrix);
    using dnnl::memory;
    const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
    dnnl::stream stream(engine);
    const memory::dims shape = {cols, rows};  // oneDNN multiplies by a [K, N] matrix
    const memory plain({shape, memory::data_type::s8, memory::format_tag::ba}, engine,
                       const_cast<std::byte*>(weight.bytes.data()));
    const memory::desc blocked(shape, memory::data_type::s8, memory::format_tag::BA16a64b4a);
    REQUIRE(blocked.get_size() == packed.panels.bytes());
    memory target(blocked, engine);
    dnnl::reorder(plain, target).execute(stream, const_cast<memory&>(plain), target);
    stream.wait();
    CHECK(std::memcmp(target.get_data_handle(), packed.panels.data(), packed.panels.bytes()) == 0);
  }
}

TEST_CASE("group sizes that kernels cannot read are refused, with the numbers") {
  Random random(6);
  for (WeightFormat format : code_formats()) {
    for (int64_t group : {-8, 0, 1, 2, 4, 7, 12, 20, 36, 100}) {
      INFO(info(format).name << " group " << group);
      CHECK_FALSE(packable_group_size(format, group));
      OwnedWeight weight = make_weight({format, 8, 120, group < 1 ? 8 : group}, random);
      weight.matrix.group_size = group;
      CHECK_THROWS_WITH(pack(weight.matrix), Catch::Contains(std::to_string(group)));
      CHECK_THROWS_AS(pack(weight.matrix), Error);
    }
    for (int64_t multiple : {1, 2, 3}) {
      const int64_t group = multiple * group_multiple(format);
      INFO(info(format).name << " group " << group);
      CHECK(packable_group_size(format, group));
      CHECK_FALSE(packable_group_size(format, group + group_multiple(format) / 2));
      CHECK_NOTHROW(pack(make_weight({format, 8, 120, group}, random).matrix));
    }
    CHECK_FALSE(packable_group_size(format, longest_sum(format, true) / 32 * 32 + 32));
    CHECK_NOTHROW(pack(make_weight({format, 8, 100, 100}, random).matrix));  // one scale a row
    CHECK_NOTHROW(pack(make_weight({format, 8, 100, 999}, random).matrix));
  }
  CHECK_FALSE(packable_group_size(WeightFormat::f16, 32));
  CHECK(group_multiple(WeightFormat::int8) == 8);
  CHECK(group_multiple(WeightFormat::int4) == 8);
  CHECK(group_multiple(WeightFormat::int6) == 16);
  CHECK(group_multiple(WeightFormat::int5) == 32);
}
