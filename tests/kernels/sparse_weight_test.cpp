// Sparse weights against the same weights packed dense, bit for bit.

#include "kernels/sparse_weight.h"

#include "kernels/error.h"
#include "kernels/matmul.h"
#include "tests/support/sparse_weights.h"

using namespace whittle;
using namespace whittle::test;

namespace {

struct Shape {
  int64_t rows, cols;
};
constexpr int percents[] = {0, 10, 50, 90, 100};

// Groups of weights, and of x where a row has one scale; 0: whole rows.
struct Groups {
  int64_t weights, inputs;
};

template <class Multiply>
std::vector<float> outputs(const PackedWeight& w, int64_t rows, Multiply multiply) {
  constexpr float untouched = 12345;
  std::vector<float> y(static_cast<size_t>(rows * (w.padded_rows() + float_block)), untouched);
  multiply(MatmulOutput{y.data(), w.padded_rows() + float_block});
  return y;
}

void check_products(const SparseForm& form, const Shape& shape, const Groups& groups, int percent,
                    int64_t most, Random& random) {
  INFO(form.name() << ' ' << shape.rows << 'x' << shape.cols << " groups " << groups.weights << " and "
                   << groups.inputs << ", " << percent << " % zeros");
  const OwnedWeight weight =
      make_sparse(form, {form.format, shape.rows, shape.cols, groups.weights}, percent, random);
  const PackedWeight dense = pack(weight.matrix), sparse = pack(weight.matrix, form.packing);
  const OwnedRows x =
      make_rows(most, shape.cols, groups.weights ? groups.weights : groups.inputs, Fill::random, random);
  const Range all{0, dense.panel_count()};
  for_each_isa([&](const KernelTable& table) {
    for (int64_t m = 1; m <= most; ++m) {
      const QuantizedRows rows = x.slice(most - m, m);
      const auto multiply = [&](const PackedWeight& w) {
        return outputs(w, m, [&](MatmulOutput y) { table.matmul_quantized(w, rows, all, y); });
      };
      INFO(m << " rows");
      CHECK(difference(multiply(sparse), multiply(dense)) == "");
    }
  });
}

}  // namespace

TEST_CASE("a sparse row decodes to exactly what the file says") {
  Random random(50);
  for (const SparseForm& form : sparse_forms)
    for (const Shape& shape : {Shape{1, 1}, {3, 3}, {31, 33}, {33, 31}, {64, 64}, {130, 172}, {5, 576}})
      for (const int64_t group : {0, 16, 32, 48, 64, 80, 128})
        for (const int percent : percents)
          for (const bool f16_scales : {false, true}) {
            const OwnedWeight weight = make_sparse(
                form, {form.format, shape.rows, shape.cols, group, false, f16_scales}, percent, random);
            INFO(form.name() << ' ' << shape.rows << 'x' << shape.cols << " group " << group << ", "
                             << percent << " % zeros");
            const PackedWeight packed = pack(weight.matrix, form.packing);
            std::vector<float> decoded(static_cast<size_t>(shape.cols));
            for (int64_t n = 0; n < shape.rows; ++n) {
              packed.decode_row(n, decoded.data());
              const std::string found = difference(decoded, weight.values(n));
              if (!found.empty()) FAIL("row " << n << ", " << found);
            }
          }
}

TEST_CASE("sparse products are the dense ones, bit for bit, for awkward shapes") {
  Random random(52);
  for (const SparseForm& form : sparse_forms)
    for (const Shape& shape : {Shape{1, 1},
                               {3, 3},
                               {31, 33},
                               {33, 31},
                               {64, 64},
                               {65, 65},
                               {172, 3},
                               {1, 1536},
                               {3, 300},
                               {300, 172}})
      for (const Groups& groups : {Groups{0, 0}, {32, 0}})
        for (const int percent : percents) check_products(form, shape, groups, percent, 3, random);
}

TEST_CASE("sparse products are the dense ones whatever shares a scale") {
  Random random(53);
  for (const SparseForm& form : sparse_forms)
    for (const Groups& groups : {Groups{16, 0},
                                 {48, 0},
                                 {64, 0},
                                 {80, 0},
                                 {128, 0},
                                 {320, 0},  //
                                 {0, 8},
                                 {0, 16},
                                 {0, 24},
                                 {0, 48},
                                 {0, 64},
                                 {0, 96},
                                 {0, 128},
                                 {0, 320}})
      for (const int percent : {50, 90}) check_products(form, {70, 600}, groups, percent, 2, random);
  check_products({WeightFormat::int8, Packing::masked}, {70, 600}, {24, 0}, 50, 2, random);
}

TEST_CASE("every number of rows from 1 to 40 meets sparse weights with the bits of dense ones") {
  Random random(54);
  for (const SparseForm& form : sparse_forms)
    for (const Groups& groups : {Groups{0, 0}, {32, 0}})
      check_products(form, {172, 300}, groups, 50, 40, random);
}

TEST_CASE("sparse products are exact at the ends of the codes") {
  Random random(55);
  for (const SparseForm& form : sparse_forms)
    for (const Fill fill : {Fill::smallest, Fill::largest, Fill::alternating})
      for (const Fill x_fill : {Fill::smallest, Fill::largest, Fill::alternating})
        for (const int64_t group : {0, 128}) {
          WeightSpec spec{form.format, 64, 704, group};
          spec.fill = fill;
          const OwnedWeight weight = make_sparse(form, spec, 0, random);
          const PackedWeight dense = pack(weight.matrix), sparse = pack(weight.matrix, form.packing);
          const OwnedRows x = make_rows(40, 704, group, x_fill, random);
          for_each_isa([&](const KernelTable& table) {
            for (const int64_t m : {1, 5, 40}) {
              const QuantizedRows rows = x.slice(0, m);
              const auto multiply = [&](const PackedWeight& w) {
                return outputs(w, m, [&](MatmulOutput y) { table.matmul_quantized(w, rows, {0, 1}, y); });
              };
              INFO(form.name() << " fill " << static_cast<int>(fill) << " of x " << static_cast<int>(x_fill)
                               << ", " << m << " rows");
              CHECK(difference(multiply(sparse), multiply(dense)) == "");
            }
          });
        }
}

TEST_CASE("any number of threads gives sparse products the bits of dense ones") {
  Random random(56);
  for (const SparseForm& form : sparse_forms)
    for (const int64_t group : {0, 32}) {
      const OwnedWeight weight = make_sparse(form, {form.format, 2100, 320, group}, 50, random);
      const PackedWeight dense = pack(weight.matrix), sparse = pack(weight.matrix, form.packing);
      for (const int64_t rows : {1, 7, 40, 300}) {
        const OwnedRows x = make_rows(rows, 320, group, Fill::random, random);
        const auto expected = outputs(dense, rows, [&](MatmulOutput y) {
          matmul(dense, x.view, {0, dense.panel_count()}, y);
        });
        for (const int threads : {1, 2, 3, 5}) {
          const Team team(threads);
          prepare_matmul(sparse, rows, x.view.group_size);
          const auto found = outputs(sparse, rows, [&](MatmulOutput y) {
            team.run([&](const Worker& worker) {
              worker.hand_out(sparse.panel_count(), [&](Range panels) { matmul(sparse, x.view, panels, y); });
            });
          });
          INFO(form.name() << " group " << group << ", " << rows << " rows, " << threads << " threads");
          CHECK(difference(found, expected) == "");
        }
      }
    }
}

TEST_CASE("sparsity is counted, and says which patterns fit") {
  Random random(57);
  for (const WeightFormat format : {WeightFormat::int8, WeightFormat::int4})
    for (const Shape& shape : {Shape{1, 1}, {3, 3}, {31, 33}, {130, 172}, {70, 300}})
      for (const SparseForm& form : sparse_forms) {
        if (form.format != format) continue;
        OwnedWeight weight = make_sparse(form, {format, shape.rows, shape.cols}, 10, random);
        const auto check = [&] {
          CodeSparsity expected;
          const auto fits = [&](const std::vector<float>& codes, size_t kept, size_t of) {
            for (size_t k = 0; k < codes.size(); k += of) {
              const size_t end = std::min(k + of, codes.size());
              if (end - k -
                      static_cast<size_t>(std::count(codes.begin() + static_cast<int64_t>(k),
                                                     codes.begin() + static_cast<int64_t>(end), 0.0f)) >
                  kept)
                return false;
            }
            return true;
          };
          for (int64_t n = 0; n < shape.rows; ++n) {
            const std::vector<float> codes = weight.codes(n);
            expected.kept += std::ssize(codes) - std::ranges::count(codes, 0.0f);
            expected.two_of_four &= fits(codes, 2, 4);
            expected.four_of_eight &= fits(codes, 4, 8);
          }
          const Team team(2);
          for (const Team* by : {static_cast<const Team*>(nullptr), &team}) {
            const CodeSparsity found = sparsity_of(weight.matrix, by);
            CHECK(found.kept == expected.kept);
            CHECK(found.codes == shape.rows * shape.cols);
            CHECK(found.two_of_four == expected.two_of_four);
            CHECK(found.four_of_eight == expected.four_of_eight);
          }
          return expected;
        };
        INFO(form.name() << ' ' << shape.rows << 'x' << shape.cols);
        const CodeSparsity fitting = check();
        if (form.packing == Packing::two_of_four) CHECK(fitting.two_of_four);
        if (form.of) CHECK(fitting.four_of_eight);
        if (shape.cols < 33) continue;
        // One code too many, anywhere.
        const int64_t n = random.integer(0, static_cast<int>(shape.rows) - 1);
        const auto first = static_cast<size_t>(random.integer(0, static_cast<int>(shape.cols) / 8 - 1) * 8);
        change_codes(weight, [&](int64_t row, std::vector<float>& codes) {
          for (size_t k = first; row == n && k < first + 5; ++k) codes[k] = 1;
        });
        const CodeSparsity violated = check();
        CHECK_FALSE(violated.four_of_eight);
        CHECK_FALSE(violated.two_of_four);
        if (form.of) CHECK_THROWS_WITH(pack(weight.matrix, form.packing), Catch::Contains("not zero"));
        if (form.of) CHECK_THROWS_AS(pack(weight.matrix, form.packing), Error);
      }
}

TEST_CASE("weights that a sparse packing cannot hold are refused") {
  Random random(58);
  const auto refused = [&](const WeightSpec& spec, Packing packing) {
    const OwnedWeight weight = make_weight(spec, random);
    CHECK_FALSE(sparse_packable(weight.matrix, packing));
    CHECK_THROWS_WITH(pack(weight.matrix, packing), Catch::Contains(std::string(name(packing)) + " packing"));
  };
  const Fill zero = Fill::zero;
  for (const Packing packing : {Packing::two_of_four, Packing::four_of_eight, Packing::masked}) {
    refused({WeightFormat::f16, 8, 64, 0, false, true, zero}, packing);
    refused({WeightFormat::int6, 8, 64, 0, false, true, zero}, packing);
    refused({WeightFormat::int8, 8, 64, 0, true, true, zero}, packing);
  }
  refused({WeightFormat::int8, 8, 64, 24, false, true, zero}, Packing::two_of_four);
  refused({WeightFormat::int4, 8, 64, 8, false, true, zero}, Packing::four_of_eight);
  refused({WeightFormat::int4, 8, 64, 32, false, true, zero}, Packing::masked);
}

TEST_CASE("a sparse weight's bytes are counted whole") {
  Random random(59);
  const auto bytes = [&](const SparseForm& form, int64_t group) {
    return pack(make_sparse(form, {form.format, 128, 256, group}, 0, random).matrix, form.packing).bytes();
  };
  constexpr int64_t weights = 128 * 256, by_row = 128 * 4, by_group = 128 * 8 * 2;
  CHECK(bytes(sparse_forms[0], 0) == weights * 5 / 8 + by_row);
  CHECK(bytes(sparse_forms[1], 0) == weights * 11 / 16 + by_row);
  CHECK(bytes(sparse_forms[0], 32) == weights * 5 / 8 + by_group);
  CHECK(bytes(sparse_forms[3], 32) == weights * 3 / 8 + by_group);
  CHECK(bytes(sparse_forms[4], 32) == weights * 7 / 16 + by_group);
  const OwnedWeight weight = make_sparse(sparse_forms[2], {WeightFormat::int8, 128, 256}, 50, random);
  const PackedWeight masked = pack(weight.matrix, Packing::masked);
  CHECK(masked.bytes_of({0, 2}) == weights / 8 + sparsity_of(weight.matrix, nullptr).kept + by_row);
  // Where panels begin, a line, and the sums of rows.
  CHECK(masked.bytes() == masked.bytes_of({0, 2}) + 3 * 8 + 64 + 128 * 4);
}
