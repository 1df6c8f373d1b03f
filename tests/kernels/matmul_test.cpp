// Every instruction set against the definition, bit for bit: integer sums are exact, and the order of the
// float operations is part of the definition.

#include "tests/support/reference_kernels.h"

using namespace whittle;
using namespace whittle::test;

namespace {

constexpr float untouched = 12345.0f;

// Calls multiply(panels, output) and returns y[rows, stride] with a margin that must stay untouched.
template <class Multiply>
std::vector<float> run(const PackedWeight& w, int64_t rows, Range panels, Multiply multiply) {
  const int64_t stride = w.padded_rows() + float_block;
  std::vector<float> y(static_cast<size_t>(rows * stride), untouched);
  multiply(panels, MatmulOutput{y.data(), stride});
  for (int64_t m = 0; m < rows; ++m)
    for (int64_t n = 0; n < stride; ++n) {
      const bool inside = n >= panels.begin * panel_rows && n < panels.end * panel_rows;
      if (!inside && y[static_cast<size_t>(m * stride + n)] != untouched)
        FAIL("wrote output " << n << " of row " << m << ", outside panels " << panels.begin << ".."
                             << panels.end);
    }
  return y;
}

Range all_panels(const PackedWeight& w) { return {0, w.panel_count()}; }

std::vector<float> multiply_quantized(const KernelTable& table, const PackedWeight& w, const QuantizedRows& x,
                                      Range panels) {
  return run(w, x.rows, panels, [&](Range range, MatmulOutput y) { table.matmul_quantized(w, x, range, y); });
}
std::vector<float> multiply_float(const KernelTable& table, const PackedWeight& w, const FloatRows& x,
                                  Range panels) {
  return run(w, x.rows, panels, [&](Range range, MatmulOutput y) { table.matmul_float(w, x, range, y); });
}

// The first of `rows` rows of y that differs from expected(m, n) somewhere.
template <class Expected>
std::string wrong_output(const std::vector<float>& y, const PackedWeight& w, int64_t rows,
                         Expected expected) {
  const int64_t stride = w.padded_rows() + float_block;
  for (int64_t m = 0; m < rows; ++m)
    for (int64_t n = 0; n < w.rows; ++n) {
      const float found = y[static_cast<size_t>(m * stride + n)], wanted = expected(m, n);
      if (std::bit_cast<uint32_t>(found) != std::bit_cast<uint32_t>(wanted))
        return fmt::format("y[{}, {}] of {} rows is {}, not {}", m, n, rows, found, wanted);
    }
  return {};
}

// Every number of rows, as a window into the same rows, so that each row is met at several places of a block.
void check_quantized(const WeightSpec& spec, int64_t x_group, Fill x_fill,
                     std::initializer_list<int64_t> row_counts, Random& random) {
  INFO(spec.name() << ", activation group " << x_group << " fill " << static_cast<int>(x_fill));
  const int64_t most = std::max(row_counts);
  const OwnedWeight weight = make_weight(spec, random);
  const OwnedRows x = make_rows(most, spec.cols, x_group, x_fill, random);
  const PackedWeight packed = pack(weight.matrix);
  const QuantizedProduct product(weight, x.view);
  for_each_isa([&](const KernelTable& table) {
    for (int64_t rows : row_counts) {
      const int64_t first = most - rows;
      const std::vector<float> y =
          multiply_quantized(table, packed, x.slice(first, rows), all_panels(packed));
      CHECK(wrong_output(y, packed, rows, [&](int64_t m, int64_t n) { return product(first + m, n); }) == "");
    }
  });
}

constexpr WeightFormat float_formats[] = {WeightFormat::f32, WeightFormat::f16, WeightFormat::bf16};

}  // namespace

TEST_CASE("matmul_quantized is its definition for awkward shapes") {
  Random random(10);
  for (WeightFormat format : code_formats())
    for (auto [rows, cols] : std::initializer_list<std::pair<int64_t, int64_t>>{{1, 1},
                                                                                {3, 3},
                                                                                {31, 33},
                                                                                {33, 31},
                                                                                {64, 64},
                                                                                {65, 65},
                                                                                {172, 172},
                                                                                {64, 1},
                                                                                {1, 64},
                                                                                {172, 3},
                                                                                {3, 576},
                                                                                {1, 1536},
                                                                                {172, 1536},
                                                                                {576, 31},
                                                                                {1536, 65},
                                                                                {576, 576}}) {
      check_quantized({format, rows, cols}, 0, Fill::random, {1, 2, 7}, random);
      check_quantized({format, rows, cols, 32, true}, 32, Fill::random, {1, 6, 13}, random);
    }
}

TEST_CASE("matmul_quantized is its definition for every group size, scale type and zero point") {
  Random random(11);
  for (WeightFormat format : code_formats())
    for (int64_t group : {8, 16, 24, 32, 64, 96, 128, 256})
      for (bool asymmetric : {false, true})
        for (bool f16_scales : {false, true})
          if (packable_group_size(format, group))
            check_quantized({format, 70, 600, group, asymmetric, f16_scales}, group, Fill::random, {1, 5, 7},
                            random);
}

TEST_CASE("matmul_quantized takes any activation group when a weight row has one scale") {
  Random random(12);
  for (WeightFormat format : code_formats())
    for (bool asymmetric : {false, true})
      for (int64_t x_group : {0, 8, 16, 24, 32, 48, 96, 104, 128, 576})
        if (x_group % group_multiple(format) == 0)
          check_quantized({format, 66, 576, 0, asymmetric}, x_group, Fill::random, {1, 2, 6}, random);
}

TEST_CASE("matmul_quantized is exact at the ends of the codes") {
  Random random(13);
  for (WeightFormat format : code_formats())
    for (Fill weight_fill : {Fill::smallest, Fill::largest, Fill::alternating, Fill::zero})
      for (Fill x_fill : {Fill::smallest, Fill::largest, Fill::alternating, Fill::zero})
        for (int64_t group : {0, 32})
          check_quantized({format, 64, 704, group, group != 0, true, weight_fill}, group, x_fill, {1, 6},
                          random);
}

TEST_CASE("a row of matmul_quantized does not depend on the rows beside it") {
  Random random(14);
  for (WeightFormat format : code_formats())
    for (int64_t group : {0, 64})
      check_quantized({format, 65, 300, group}, group, Fill::random, {1, 12, 40, 131, 133, 300}, random);
}

TEST_CASE("every number of rows from 1 to 40 gives each row the same bits") {
  Random random(17);
  for (const WeightFormatInfo& format : weight_formats())
    for (auto [rows, cols] :
         std::initializer_list<std::pair<int64_t, int64_t>>{{172, 576}, {65, 172}, {31, 1536}})
      for (int64_t group : {0, 32}) {
        const bool is_float = !format.quantized;
        if (is_float && group) continue;
        const OwnedWeight weight = make_weight({format.format, rows, cols, group}, random);
        const PackedWeight packed = pack(weight.matrix);
        const OwnedRows x = make_rows(40, cols, group, Fill::random, random);
        const std::vector<float> floats = random.floats(40 * cols);
        for_each_isa([&](const KernelTable& table) {
          const auto multiply = [&](int64_t m) {
            return is_float ? multiply_float(table, packed, {m, cols, floats.data()}, all_panels(packed))
                            : multiply_quantized(table, packed, x.slice(0, m), all_panels(packed));
          };
          const std::vector<float> all = multiply(40);
          for (int64_t m = 1; m < 40; ++m) {
            const std::vector<float> some = multiply(m);
            INFO(m << " rows");
            CHECK(difference(some, {all.begin(), all.begin() + static_cast<int64_t>(some.size())}) == "");
          }
        });
      }
}

TEST_CASE("any split of the panels gives the same bits") {
  Random random(15);
  for (const WeightFormatInfo& format : weight_formats()) {
    const OwnedWeight weight = make_weight({format.format, 300, 320, 32}, random);
    const PackedWeight packed = pack(weight.matrix);
    const OwnedRows x = make_rows(7, 320, 32, Fill::random, random);
    const std::vector<float> floats = random.floats(7 * 320);
    for_each_isa([&](const KernelTable& table) {
      for (int64_t rows : {1, 7}) {
        const auto multiply = [&](Range panels) {
          return packed.quantized() ? multiply_quantized(table, packed, x.slice(0, rows), panels)
                                    : multiply_float(table, packed, {rows, 320, floats.data()}, panels);
        };
        const std::vector<float> whole = multiply(all_panels(packed));
        for (int64_t split = 0; split <= packed.panel_count(); ++split) {
          std::vector<float> joined = multiply({0, split});
          const std::vector<float> second = multiply({split, packed.panel_count()});
          for (size_t i = 0; i < joined.size(); ++i)
            if (joined[i] == untouched) joined[i] = second[i];
          CHECK(difference(joined, whole) == "");
        }
      }
    });
  }
}

TEST_CASE("matmul_float is its definition") {
  Random random(16);
  for (WeightFormat format : float_formats)
    for (auto [rows, cols] : std::initializer_list<std::pair<int64_t, int64_t>>{
             {1, 1}, {3, 3}, {31, 33}, {65, 127}, {64, 128}, {172, 129}, {3, 576}, {65, 300}}) {
      const WeightSpec spec{format, rows, cols};
      INFO(spec.name());
      const int64_t most = rows * cols == 65 * 300 ? 300 : 40;
      const OwnedWeight weight = make_weight(spec, random);
      const PackedWeight packed = pack(weight.matrix);
      const int64_t stride = round_up(cols, float_block);
      const std::vector<float> x = random.floats(most * stride);
      std::vector<std::vector<float>> w;
      for (int64_t n = 0; n < rows; ++n) w.push_back(weight.values(n));
      for_each_isa([&](const KernelTable& table) {
        std::vector<float> expected;
        for (int64_t m = 0; m < most; ++m)
          for (const auto& row : w) expected.push_back(float_product(row, x.data() + m * stride));
        for (int64_t count : {1, 2, 5, 6, 7, 13, 40, 131, 133, 300}) {
          if (count > most) continue;
          const int64_t first = most - count;
          const std::vector<float> y =
              multiply_float(table, packed, {count, stride, x.data() + first * stride}, all_panels(packed));
          CHECK(wrong_output(y, packed, count, [&](int64_t m, int64_t n) {
                  return expected[static_cast<size_t>((first + m) * rows + n)];
                }) == "");
        }
      });
    }
}

// The definitions themselves against plain double arithmetic: n roundings in a chain lose at most n · eps of
// the products' magnitudes.
TEST_CASE("products are close to double arithmetic") {
  Random random(17);
  for (const WeightFormatInfo& format : weight_formats()) {
    const int64_t cols = 576, rows = 20, group = 32;
    const OwnedWeight weight = make_weight({format.format, rows, cols, group, true}, random);
    const PackedWeight packed = pack(weight.matrix);
    const OwnedRows codes = make_rows(1, cols, group, Fill::random, random);
    std::vector<float> x = random.floats(cols);
    if (format.quantized)
      for (int64_t k = 0; k < cols; ++k)
        x[static_cast<size_t>(k)] = static_cast<float>(codes.codes[static_cast<size_t>(k)]);
    for_each_isa([&](const KernelTable& table) {
      const std::vector<float> y =
          format.quantized ? multiply_quantized(table, packed, codes.view, all_panels(packed))
                           : multiply_float(table, packed, {1, cols, x.data()}, all_panels(packed));
      for (int64_t n = 0; n < rows; ++n) {
        double sum = 0, magnitude = 0;
        const std::vector<float> values = weight.values(n);
        for (int64_t k = 0; k < cols; ++k) {
          const double x_scale = format.quantized ? codes.scales[static_cast<size_t>(k / group)] : 1;
          const double product =
              static_cast<double>(values[static_cast<size_t>(k)]) * x[static_cast<size_t>(k)] * x_scale;
          sum += product;
          magnitude += std::abs(product);
        }
        CHECK(std::abs(y[static_cast<size_t>(n)] - sum) <=
              2 * static_cast<double>(cols) * float_epsilon * magnitude);
      }
    });
  }
}

TEST_CASE("scale_sums finishes sums made elsewhere with the same bits") {
  Random random(18);
  for (bool asymmetric : {false, true}) {
    const int64_t rows = 130, cols = 200, count = 9;
    const OwnedWeight weight = make_weight({WeightFormat::int8, rows, cols, 0, asymmetric}, random);
    const PackedWeight packed = pack(weight.matrix);
    const OwnedRows x = make_rows(count, cols, 0, Fill::random, random);
    for_each_isa([&](const KernelTable& table) {
      const auto by_sums = run(packed, count, all_panels(packed), [&](Range panels, MatmulOutput y) {
        for (int64_t p = panels.begin; p < panels.end; ++p) {
          std::vector<int32_t> sums(count * panel_rows, 0);
          for (int64_t n = p * panel_rows; n < std::min(rows, (p + 1) * panel_rows); ++n) {
            const std::vector<float> codes = weight.codes(n);
            for (int64_t m = 0; m < count; ++m)
              for (int64_t k = 0; k < cols; ++k)
                sums[static_cast<size_t>(m * panel_rows + n % panel_rows)] +=
                    static_cast<int32_t>(codes[static_cast<size_t>(k)]) * x.view.codes[m * x.view.cols + k];
          }
          table.scale_sums(packed, x.view, p, sums.data(), panel_rows, y);
        }
      });
      CHECK(difference(by_sums, multiply_quantized(table, packed, x.view, all_panels(packed))) == "");
    });
  }
}
