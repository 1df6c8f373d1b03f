// What is done to rows between the matrix products, on rows that lie in cache as they do in a model: the
// bytes that count are those read and written, and a fraction of the memory's speed above 100 % is what one
// expects.

#include <vector>

#include "bench/micro/limits.h"
#include "kernels/buffer.h"

namespace whittle {
namespace {

// Buffers for a row of each kind.
struct Rows {
  explicit Rows(int64_t width)
      : x(static_cast<size_t>(width), 0.5f), y(x), weight(x), codes(width), scales(1), sums(1) {
    quantized = {1, width, width, codes.data(), scales.data(), sums.data()};
  }
  std::vector<float> x, y, weight;
  Buffer<int8_t> codes;
  std::vector<float> scales;
  std::vector<int32_t> sums;
  QuantizedRows quantized;
};

struct Kernel {
  const char* name;
  int64_t bytes;  // read and written for a value of the row
  void (*run)(const KernelTable& table, Rows& rows, int64_t width);
};
constexpr Kernel elementwise_kernels[] = {
    {"rms_norm", 12,
     [](const KernelTable& t, Rows& r, int64_t n) {
       t.rms_norm(r.x.data(), r.weight.data(), n, 1e-5f, r.y.data());
     }},
    {"quantize_row", 5,
     [](const KernelTable& t, Rows& r, int64_t n) { t.quantize_row(r.x.data(), n, r.quantized, 0); }},
    {"silu_mul", 12, [](const KernelTable& t, Rows& r, int64_t n) { t.silu_mul(r.y.data(), r.x.data(), n); }},
    {"add", 12, [](const KernelTable& t, Rows& r, int64_t n) { t.add(r.y.data(), r.x.data(), n); }},
    {"rope", 12,
     [](const KernelTable& t, Rows& r, int64_t n) { t.rope(r.y.data(), r.x.data(), r.weight.data(), n); }},
};
constexpr int64_t widths[] = {576, 2048, 5632};

}  // namespace

void register_elementwise(const KernelTable& table) {
  for (const Kernel& kernel : elementwise_kernels)
    for (const int64_t width : widths)
      register_kernel(fmt::format("elementwise/{}/{}/{}", table.name, kernel.name, width),
                      [&, width](benchmark::State& state) {
                        constexpr int64_t calls = 10000;
                        Rows rows(width);
                        measure_against_limit(state, {calls * width * kernel.bytes, 0, 0}, [&] {
                          for (int64_t i = 0; i < calls; ++i) {
                            kernel.run(table, rows, width);
                            benchmark::DoNotOptimize(rows.y.data());
                          }
                        });
                      });
}

}  // namespace whittle
