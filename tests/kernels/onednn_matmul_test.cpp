#include "kernels/onednn_matmul.h"

#include <omp.h>

#include "kernels/matmul.h"
#include "kernels/sparse_weight.h"
#include "tests/support/reference_kernels.h"

using namespace whittle;
using namespace whittle::test;

namespace {

// Without VNNI oneDNN adds two u8 · s8 products in 16 bits and saturates: 2 · 255 · 63 is the most that fits.
bool sums_are_exact() { return __builtin_cpu_supports("avx512vnni"); }

OwnedWeight small_weight(int64_t rows, int64_t cols, bool asymmetric, Random& random) {
  OwnedWeight weight = make_weight({WeightFormat::int8, rows, cols, 0, asymmetric}, random);
  if (!sums_are_exact())
    for (std::byte& code : weight.bytes) code = static_cast<std::byte>(random.integer(-63, 63));
  return weight;
}

template <class Multiply>
std::vector<float> outputs(const PackedWeight& w, int64_t rows, Multiply multiply) {
  std::vector<float> y(static_cast<size_t>(rows * w.padded_rows()));
  multiply(MatmulOutput{y.data(), w.padded_rows()});
  return y;
}

}  // namespace

TEST_CASE("oneDNN reads our panels and gives our bits") {
  Random random(40);
  for (auto [rows, cols] :
       std::initializer_list<std::pair<int64_t, int64_t>>{{1, 1}, {65, 65}, {300, 172}, {1100, 128}})
    for (int64_t count : {1, 31, 32, 40, 300})
      for (const auto& [packing, asymmetric] :
           {std::pair(Packing::dense, false), {Packing::dense, true}, {Packing::masked, false}}) {
        INFO(rows << "x" << cols << ", " << count << " rows, " << name(packing));
        OwnedWeight weight = small_weight(rows, cols, asymmetric, random);
        if (packing == Packing::masked)
          for (std::byte& code : weight.bytes)
            if (random.integer(0, 2) == 0) code = {};
        const PackedWeight packed = pack(weight.matrix, packing);
        const OwnedRows x = make_rows(count, cols, 0, Fill::random, random);
        REQUIRE(onednn_accepts(packed, x.view));
        const Range all{0, packed.panel_count()};
        const auto ours = outputs(
            packed, count, [&](MatmulOutput y) { kernels().matmul_quantized(packed, x.view, all, y); });
        const auto theirs =
            outputs(packed, count, [&](MatmulOutput y) { onednn_matmul(packed, x.view, all, y); });
        CHECK(difference(theirs, ours) == "");
      }
}

TEST_CASE("every thread of a team runs oneDNN for panels of its own") {
  Random random(41);
  const OwnedWeight weight = small_weight(700, 320, false, random);
  const PackedWeight packed = pack(weight.matrix);
  const OwnedRows x = make_rows(70, 320, 0, Fill::random, random);
  const auto ours = outputs(packed, 70, [&](MatmulOutput y) {
    kernels().matmul_quantized(packed, x.view, {0, packed.panel_count()}, y);
  });
  const int threads_before = omp_get_max_threads();
  for (int threads : {1, 2, 3}) {
    const Team team(threads);
    const auto theirs = outputs(packed, 70, [&](MatmulOutput y) {
      team.run([&](const Worker& worker) {
        onednn_matmul(packed, x.view, worker.share(packed.panel_count()), y);
      });
    });
    CHECK(difference(theirs, ours) == "");
  }
  CHECK(omp_get_max_threads() == threads_before);
}

TEST_CASE("however rows and panels are cut, oneDNN's primitives stay few and the bits the same") {
  Random random(44);
  const int64_t cols = 200, most_rows = 600;
  const OwnedWeight weight = small_weight(37 * panel_rows, cols, true, random);
  const PackedWeight packed = pack(weight.matrix);
  const OwnedRows x = make_rows(most_rows, cols, 0, Fill::random, random);
  const Team team(3);
  const int64_t before = onednn_primitives();
  for (int64_t rows : {1, 32, 33, 70, 100, 130, 190, 200, 256, 257, 600}) {
    const QuantizedRows part = x.slice(0, rows);
    const auto ours = outputs(packed, rows, [&](MatmulOutput y) {
      kernels().matmul_quantized(packed, part, {0, packed.panel_count()}, y);
    });
    for (int64_t piece = 1; piece <= packed.panel_count(); piece += rows < 100 ? 1 : 7) {
      const auto theirs = outputs(packed, rows, [&](MatmulOutput y) {
        team.for_each((packed.panel_count() + piece - 1) / piece, [&](int64_t i) {
          const int64_t end = std::min((i + 1) * piece, packed.panel_count());
          onednn_matmul(packed, part, {i * piece, end}, y);
        });
      });
      CHECK(difference(theirs, ours) == "");
    }
  }
  CHECK(onednn_primitives() > before);
  CHECK(onednn_primitives() <= before + onednn_shapes);
}

TEST_CASE("what oneDNN needs for a number of rows can be made before they come") {
  Random random(44);
  const OwnedWeight weight = make_weight({WeightFormat::int8, 64 * 21, 448}, random);
  for (const auto& [packing, rows] :
       {std::pair(Packing::dense, 33), {Packing::dense, 300}, {Packing::masked, 70}}) {
    const PackedWeight packed = pack(weight.matrix, packing);
    const OwnedRows x = make_rows(rows, 448, 0, Fill::random, random);
    onednn_prepare(packed, rows);
    const int64_t before = onednn_primitives();
    const auto ours = outputs(packed, rows, [&](MatmulOutput y) {
      kernels().matmul_quantized(packed, x.view, {0, packed.panel_count()}, y);
    });
    for (int64_t piece = 1; piece <= packed.panel_count(); ++piece) {
      const auto theirs = outputs(packed, rows, [&](MatmulOutput y) {
        for (int64_t p = 0; p < packed.panel_count(); p += piece)
          onednn_matmul(packed, x.view, {p, std::min(p + piece, packed.panel_count())}, y);
      });
      CHECK(difference(theirs, ours) == "");
    }
    CHECK(onednn_primitives() == before);
  }
}

TEST_CASE("oneDNN is not asked for what it cannot do") {
  Random random(42);
  const OwnedWeight made_int8 = make_weight({WeightFormat::int8, 64, 128}, random);
  const PackedWeight int8_row = pack(made_int8.matrix);
  const PackedWeight int8_group = pack(make_weight({WeightFormat::int8, 64, 128, 32}, random).matrix);
  const PackedWeight int4_row = pack(make_weight({WeightFormat::int4, 64, 128}, random).matrix);
  const OwnedRows by_token = make_rows(40, 128, 0, Fill::random, random),
                  by_group = make_rows(40, 128, 32, Fill::random, random);
  CHECK(onednn_accepts(int8_row, by_token.view));
  CHECK(onednn_accepts(pack(made_int8.matrix, Packing::masked), by_token.view));
  CHECK_FALSE(onednn_accepts(pack(made_int8.matrix, Packing::masked), by_group.view));
  CHECK_FALSE(onednn_accepts(int8_row, by_group.view));
  CHECK_FALSE(onednn_accepts(int8_group, by_group.view));
  CHECK_FALSE(onednn_accepts(int4_row, by_token.view));
}

TEST_CASE("matmul gives the kernels' bits whichever way it goes") {
  Random random(43);
  for (WeightFormat format : code_formats())
    for (int64_t group : {0, 32})
      for (int64_t count : {1, 31, 32, 100}) {
        const OwnedWeight weight = make_weight({format, 130, 192, group}, random);
        const PackedWeight packed = pack(weight.matrix);
        const OwnedRows x = make_rows(count, 192, group, Fill::random, random);
        const Range all{0, packed.panel_count()};
        const auto direct = outputs(
            packed, count, [&](MatmulOutput y) { kernels().matmul_quantized(packed, x.view, all, y); });
        const auto chosen = outputs(packed, count, [&](MatmulOutput y) { matmul(packed, x.view, all, y); });
        CHECK(difference(chosen, direct) == "");
      }
}
