// One matrix product, for every format, shape and number of rows.

#include <algorithm>
#include <functional>
#include <numeric>
#include <random>
#include <vector>

#include "bench/machine.h"
#include "bench/micro/limits.h"

namespace whittle {
namespace {

struct Format {
  const char* name;
  WeightFormat format;
  int64_t group_size;                // of weights and activations; 0: one scale a row and a token
  Packing packing = Packing::dense;  // a sparse one is measured beside the dense one, of half the codes
};
constexpr Format formats[] = {{"f16", WeightFormat::f16, 0},
                              {"bf16", WeightFormat::bf16, 0},
                              {"int8_row", WeightFormat::int8, 0},
                              {"int8_g128", WeightFormat::int8, 128},
                              {"int8_g32", WeightFormat::int8, 32},
                              {"int6_row", WeightFormat::int6, 0},
                              {"int6_g128", WeightFormat::int6, 128},
                              {"int6_g32", WeightFormat::int6, 32},
                              {"int5_row", WeightFormat::int5, 0},
                              {"int5_g128", WeightFormat::int5, 128},
                              {"int5_g32", WeightFormat::int5, 32},
                              {"int4_row", WeightFormat::int4, 0},
                              {"int4_g128", WeightFormat::int4, 128},
                              {"int4_g32", WeightFormat::int4, 32},
                              {"int8_row_2:4", WeightFormat::int8, 0, Packing::two_of_four},
                              {"int8_row_4:8", WeightFormat::int8, 0, Packing::four_of_eight},
                              {"int8_row_masked", WeightFormat::int8, 0, Packing::masked},
                              {"int8_g128_2:4", WeightFormat::int8, 128, Packing::two_of_four},
                              {"int8_g128_masked", WeightFormat::int8, 128, Packing::masked},
                              {"int4_g128_2:4", WeightFormat::int4, 128, Packing::two_of_four},
                              {"int4_g32_2:4", WeightFormat::int4, 32, Packing::two_of_four},
                              {"int4_g128_4:8", WeightFormat::int4, 128, Packing::four_of_eight}};

struct Shape {
  int64_t rows, cols;  // N, K
};
constexpr Shape shapes[] = {{2048, 2048}, {5632, 2048}, {2048, 5632}};
constexpr int64_t row_counts[] = {1, 2, 4, 8, 16, 32, 128, 512};  // M

// Half of the codes at random, as the packing wants them.
void zero_codes(const Format& format, std::vector<std::byte>& codes, std::mt19937& random) {
  const bool int8 = format.format == WeightFormat::int8;
  const auto zero = [&](size_t i) {
    std::byte& byte = codes[int8 ? i : i / 2];
    byte = int8    ? std::byte{0}
           : i % 2 ? (byte & std::byte{0x0f}) | std::byte{0x80}
                   : (byte & std::byte{0xf0}) | std::byte{8};
  };
  const size_t count = codes.size() * (int8 ? 1 : 2);
  if (format.packing == Packing::masked) {
    for (size_t i = 0; i < count; ++i)
      if (random() % 2) zero(i);
    return;
  }
  std::vector<size_t> places(format.packing == Packing::two_of_four ? 4 : 8);
  std::iota(places.begin(), places.end(), size_t{0});
  for (size_t i = 0; i < count; i += places.size()) {
    std::ranges::shuffle(places, random);
    for (size_t j = 0; j < places.size() / 2; ++j) zero(i + places[j]);
  }
}

struct Weights {
  std::vector<PackedWeight> packed, dense;  // dense: beside sparse ones
};

void add_random_weight(const Format& format, const Shape& shape, std::mt19937& random, Weights& weights) {
  WeightMatrix weight{format.format, shape.rows, shape.cols};
  std::vector<std::byte> codes(static_cast<size_t>(shape.rows * row_bytes(format.format, shape.cols)));
  if (info(format.format).quantized) {
    for (std::byte& code : codes) code = static_cast<std::byte>(random());
    weight.group_size = format.group_size ? format.group_size : shape.cols;
    weight.scales.assign(static_cast<size_t>(shape.rows * weight.groups()), 0.0078125f);
  } else {  // halves between 1 and 2: no denormals, no infinities
    const uint16_t one = format.format == WeightFormat::f16 ? 0x3c00 : 0x3f80;
    const uint16_t mantissa = format.format == WeightFormat::f16 ? 0x3ff : 0x7f;
    for (size_t i = 0; i < codes.size(); i += 2) {
      const auto value = static_cast<uint16_t>(one | (random() & mantissa));
      codes[i] = static_cast<std::byte>(value & 0xff);
      codes[i + 1] = static_cast<std::byte>(value >> 8);
    }
  }
  if (format.packing != Packing::dense) zero_codes(format, codes, random);
  weight.codes = codes;
  weights.packed.push_back(pack(weight, format.packing));
  if (format.packing != Packing::dense) weights.dense.push_back(pack(weight));
}

// The inputs of a product, as floats and quantized.
class Rows {
 public:
  Rows(const KernelTable& table, int64_t rows, int64_t cols, int64_t group_size, std::mt19937& random)
      : stride_(cols + float_block),
        floats_(static_cast<size_t>(rows * stride_)),
        codes_(rows * round_up(cols, cols_block)) {
    std::uniform_real_distribution<float> uniform(-1, 1);
    for (float& value : floats_) value = uniform(random);
    quantized = {rows, round_up(cols, cols_block), group_size ? group_size : round_up(cols, cols_block),
                 codes_.data()};
    scales_.resize(static_cast<size_t>(rows * quantized.groups()));
    sums_.resize(scales_.size());
    quantized.scales = scales_.data();
    quantized.sums = sums_.data();
    for (int64_t m = 0; m < rows; ++m) table.quantize_row(floats_.data() + m * stride_, cols, quantized, m);
    whole = {rows, stride_, floats_.data()};
  }
  QuantizedRows quantized;
  FloatRows whole;

 private:
  int64_t stride_;  // as the engine's: see LinearInput
  std::vector<float> floats_, scales_;
  Buffer<int8_t> codes_;
  std::vector<int32_t> sums_;
};

void measure(benchmark::State& state, const KernelTable& table, const Format& format, const Shape& shape,
             int64_t rows) {
  std::mt19937 random(1);
  // A single row meets its weights in memory, as in decode: so many copies that the caches hold none from one
  // pass to the next.
  Weights weights;
  const int64_t least_bytes = rows < 32 ? 4 * read_machine().last_level_cache_bytes() : 0;
  int64_t bytes = 0;
  do {
    add_random_weight(format, shape, random, weights);
    bytes += weights.packed.back().bytes();
  } while (bytes < least_bytes);
  const PackedWeight& first = weights.packed.front();
  const Rows x(table, rows, shape.cols, format.group_size, random);
  std::vector<float> y(static_cast<size_t>(rows * first.padded_rows()));
  const bool quantized = first.quantized();
  const int64_t operations = 2 * rows * shape.rows * shape.cols * std::ssize(weights.packed);
  const auto multiply_by = [&](const std::vector<PackedWeight>& all) {
    for (const PackedWeight& weight : all) {
      const Range panels{0, weight.panel_count()};
      const MatmulOutput output{y.data(), weight.padded_rows()};
      if (quantized)
        table.matmul_quantized(weight, x.quantized, panels, output);
      else
        table.matmul_float(weight, x.whole, panels, output);
    }
    benchmark::DoNotOptimize(y.data());
  };
  std::function<void()> dense;
  if (!weights.dense.empty()) dense = [&] { multiply_by(weights.dense); };
  measure_against_limit(
      state, quantized ? Work{bytes, operations, 0} : Work{bytes, 0, operations},
      [&] { multiply_by(weights.packed); }, dense);
}

}  // namespace

void register_matmul(const KernelTable& table) {
  for (const Format& format : formats) {
    if (format.packing == Packing::masked && !table.reads_masks) continue;
    for (const Shape& shape : shapes)
      for (const int64_t rows : row_counts)
        register_kernel(
            fmt::format("matmul/{}/{}/{}x{}/M{}", table.name, format.name, shape.rows, shape.cols, rows),
            [&table, &format, &shape, rows](benchmark::State& state) {
              measure(state, table, format, shape, rows);
            });
  }
}

}  // namespace whittle
