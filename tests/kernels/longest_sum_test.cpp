// Sums of the most inputs that a scale may have, at the ends of the codes: they use all of 32 bits.

#include "kernels/error.h"
#include "kernels/onednn_matmul.h"
#include "tests/support/reference_kernels.h"

using namespace whittle;
using namespace whittle::test;

namespace {

// One weight row of the same code, and the 63 rows beside it that padding makes.
struct Extreme {
  WeightFormat format;
  int code;
  int zero_point;  // 0: none
};
constexpr Extreme extremes[] = {
    {WeightFormat::int8, -128, 0},   {WeightFormat::int8, 127, 0},  {WeightFormat::int8, -128, 127},
    {WeightFormat::int8, 127, -128}, {WeightFormat::int6, -32, 31}, {WeightFormat::int6, 31, -32},
    {WeightFormat::int5, -16, 15},   {WeightFormat::int5, 15, -16}, {WeightFormat::int4, -8, 0},
    {WeightFormat::int4, 7, 0},      {WeightFormat::int4, -8, 7},   {WeightFormat::int4, 7, -8}};

OwnedWeight extreme_weight(const Extreme& extreme, int64_t cols, int64_t group) {
  Random random(1);
  OwnedWeight weight = make_weight({extreme.format, 1, cols, group}, random);
  const std::vector<float> codes(static_cast<size_t>(cols), static_cast<float>(extreme.code));
  info(extreme.format).encode_row(codes.data(), cols, weight.bytes.data());
  std::ranges::fill(weight.matrix.scales, 1.0f);
  if (extreme.zero_point)
    weight.matrix.zero_points.assign(weight.matrix.scales.size(), static_cast<int8_t>(extreme.zero_point));
  return weight;
}

// Rows of x that are all `code`, but for one input that keeps the sums odd.
OwnedRows extreme_rows(int64_t rows, int64_t cols, int64_t group, int code) {
  OwnedRows x(rows, round_up(cols, cols_block), group);
  for (int64_t m = 0; m < rows; ++m)
    for (int64_t k = 0; k < cols; ++k) {
      const auto input = static_cast<int8_t>(k == m ? code / 2 : code);
      x.view.codes[m * x.view.cols + k] = input;
      x.view.sums[m * x.view.groups() + k / group] += input;
    }
  std::ranges::fill(x.scales, 1.0f);
  return x;
}

void check(const Extreme& extreme, int64_t cols, int64_t group, int code, int64_t rows) {
  INFO(info(extreme.format).name << " code " << extreme.code << " zero point " << extreme.zero_point << ", "
                                 << cols << " inputs in groups of " << group << " of " << code << ", " << rows
                                 << " rows");
  const OwnedWeight weight = extreme_weight(extreme, cols, group);
  const PackedWeight packed = pack(weight.matrix);
  const OwnedRows x = extreme_rows(rows, cols, group ? group : packed.padded_cols, code);
  const QuantizedProduct product(weight, x.view);  // in 64 bits
  std::vector<float> y(static_cast<size_t>(rows * panel_rows));
  const auto wrong = [&] {
    int count = 0;
    for (int64_t m = 0; m < rows; ++m) count += y[static_cast<size_t>(m * panel_rows)] != product(m, 0);
    return count;
  };
  for_each_isa([&](const KernelTable& table) {
    table.matmul_quantized(packed, x.view, {0, 1}, {y.data(), panel_rows});
    CHECK(wrong() == 0);
  });
  if (!kernels().exact_u8s8 || !onednn_accepts(packed, x.view)) return;
  onednn_matmul(packed, x.view, {0, 1}, {y.data(), panel_rows});
  CHECK(wrong() == 0);
}

}  // namespace

TEST_CASE("the longest sums are exact on every instruction set") {
  CHECK(longest_sum(WeightFormat::int8, false) == 132'104);
  CHECK(longest_sum(WeightFormat::int8, true) == 66'311);
  CHECK(longest_sum(WeightFormat::int6, false) == 268'401);
  CHECK(longest_sum(WeightFormat::int5, false) == 545'461);
  CHECK(longest_sum(WeightFormat::int4, false) == 1'127'288);
  for (const Extreme& extreme : extremes) {
    const int64_t most = longest_sum(extreme.format, extreme.zero_point != 0);
    const bool int8 = extreme.format == WeightFormat::int8;
    for (int code : {127, -127}) {
      if (!int8 && !extreme.zero_point) continue;  // not the largest of fewer bits
      check(extreme, most, 0, code, 1);
      check(extreme, most, 0, code, 2);
      const int64_t group = longest_sum(extreme.format, true) / 32 * 32;
      check(extreme, 2 * group, group, code, 2);
    }
    if (int8 && extreme.code < 0) check(extreme, most, 0, -127, 33);  // oneDNN too
  }
}

TEST_CASE("sums that may leave 32 bits are refused where a weight is packed") {
  for (const Extreme& extreme : extremes) {
    const int64_t most = longest_sum(extreme.format, extreme.zero_point != 0);
    CHECK_THROWS_WITH(pack(extreme_weight(extreme, most + 1, 0).matrix),
                      Catch::Contains(std::to_string(most)) && Catch::Contains(std::to_string(most + 1)));
    const int64_t group = round_up(longest_sum(extreme.format, true) + 1, 32);
    CHECK_THROWS_AS(pack(extreme_weight(extreme, 2 * group, group).matrix), Error);
    if (extreme.format == WeightFormat::int8)  // groups are summed apart
      CHECK_NOTHROW(pack(extreme_weight(extreme, 3 * most, 1024).matrix));
  }
}
