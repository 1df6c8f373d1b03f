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
           format.quantized ? std::vector<int64_t>{0, 8, 24, 32, 128} : std::vector<int64_t>{0})
        for (bool asymmetric : {false, true})
          for (bool f16_scales : {false, true}) {
            if (!format.quantized && (asymmetric || f16_scales)) continue;
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
  const OwnedWeight weight = make_weight({WeightFormat::int4, 200, 100, 32, true}, random);
  const PackedWeight packed = pack(weight.matrix);
  Packer packer(weight.matrix);
  for (int64_t p = packer.panel_count(); p-- > 0;) packer.pack(p);
  const PackedWeight other = packer.take();
  REQUIRE(other.panels.size() == packed.panels.size());
  CHECK(std::memcmp(other.panels.data(), packed.panels.data(), packed.panels.bytes()) == 0);
}

TEST_CASE("a weight's bytes are counted whole") {
  Random random(4);
  const PackedWeight grouped = pack(make_weight({WeightFormat::int4, 128, 256, 32}, random).matrix);
  CHECK(grouped.bytes() == 128 * 256 / 2 + 128 * 8 * 2);  // codes, and an f16 scale for 32 of them
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
  for (WeightFormat format : {WeightFormat::int8, WeightFormat::int4}) {
    for (int64_t group : {-8, 0, 1, 2, 4, 7, 12, 20, 36, 100}) {
      INFO(info(format).name << " group " << group);
      CHECK_FALSE(packable_group_size(format, group));
      OwnedWeight weight = make_weight({format, 8, 120, group < 1 ? 8 : group}, random);
      weight.matrix.group_size = group;
      CHECK_THROWS_WITH(pack(weight.matrix), Catch::Contains(std::to_string(group)));
      CHECK_THROWS_AS(pack(weight.matrix), Error);
    }
    for (int64_t group : {8, 16, 24, 32, 104}) {
      CHECK(packable_group_size(format, group));
      CHECK_NOTHROW(pack(make_weight({format, 8, 120, group}, random).matrix));
    }
    CHECK_FALSE(packable_group_size(format, longest_sum(format, true) / 8 * 8 + 8));
    CHECK_NOTHROW(pack(make_weight({format, 8, 100, 100}, random).matrix));  // one scale a row
    CHECK_NOTHROW(pack(make_weight({format, 8, 100, 999}, random).matrix));
  }
  CHECK_FALSE(packable_group_size(WeightFormat::f16, 32));
}
