#include "kernels/onednn_matmul.h"

#include <omp.h>

#include <algorithm>
#include <cassert>
#include <dnnl.hpp>
#include <map>
#include <tuple>
#include <vector>

namespace whittle {
namespace {

using dnnl::memory;

// A call is cut into pieces of at most this size, so that sums stay in cache and few different primitives are
// made.
constexpr int64_t most_rows = 256, most_panels = 16;
constexpr int64_t rows_multiple =
    32;  // rows are padded to a multiple: a primitive serves that many numbers of rows

// oneDNN sees one thread: ours are already a team.
class OneThread {
 public:
  OneThread() { omp_set_num_threads(1); }
  ~OneThread() { omp_set_num_threads(threads_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int threads_ = omp_get_max_threads();
};

const dnnl::engine& cpu() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

// [M, K] u8 times [K, N] s8 to [M, N] s32.
struct Product {
  memory::desc x, w, sums, scratchpad;
  dnnl::matmul primitive;

  Product(int64_t rows, int64_t outputs, int64_t cols)
      : x({rows, cols}, memory::data_type::u8, memory::format_tag::ab),
        w({cols, outputs}, memory::data_type::s8, memory::format_tag::BA16a64b4a),
        sums({rows, outputs}, memory::data_type::s32, memory::format_tag::ab) {
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    const dnnl::matmul::primitive_desc description({x, w, sums}, attributes, cpu());
    scratchpad = description.scratchpad_desc();
    primitive = dnnl::matmul(description);
  }
};

// What a thread keeps between calls.
struct ThreadState {
  dnnl::stream stream{cpu()};
  std::map<std::tuple<int64_t, int64_t, int64_t>, Product> products;  // by rows, outputs, cols
  std::vector<uint8_t> x;
  std::vector<int32_t> sums;
  std::vector<std::byte> scratchpad;
};

// Rows [m0, m0 + rows) of x as unsigned bytes, code + 128; the padding rows may hold anything.
void shift_codes(const QuantizedRows& x, int64_t m0, int64_t rows, std::vector<uint8_t>& shifted) {
  const int8_t* codes = x.codes + m0 * x.cols;
  std::transform(codes, codes + rows * x.cols, shifted.begin(),
                 [](int8_t code) { return static_cast<uint8_t>(code + 128); });
}

}  // namespace

bool onednn_accepts(const PackedWeight& w, const QuantizedRows& x) {
  return w.format == WeightFormat::int8 && w.row_scaled() && x.groups() == 1;
}

void onednn_matmul(const PackedWeight& w, const QuantizedRows& x, Range panels, MatmulOutput y) {
  assert(onednn_accepts(w, x));
  const OneThread one_thread;
  thread_local ThreadState state;
  for (int64_t m0 = 0; m0 < x.rows; m0 += most_rows) {
    QuantizedRows part = x;
    part.rows = std::min(most_rows, x.rows - m0);
    part.scales += m0;
    part.sums += m0;
    const int64_t padded_rows = round_up(part.rows, rows_multiple);
    state.x.resize(static_cast<size_t>(padded_rows * x.cols));
    shift_codes(x, m0, part.rows, state.x);
    const MatmulOutput part_y = {y.values + m0 * y.stride, y.stride};
    for (int64_t p0 = panels.begin; p0 < panels.end; p0 += most_panels) {
      const int64_t count = std::min(most_panels, panels.end - p0), outputs = count * panel_rows;
      const Product& product =
          state.products.try_emplace({padded_rows, outputs, x.cols}, padded_rows, outputs, x.cols)
              .first->second;
      state.sums.resize(static_cast<size_t>(padded_rows * outputs));
      state.scratchpad.resize(std::max(state.scratchpad.size(), product.scratchpad.get_size()));
      auto* codes = const_cast<std::byte*>(w.panels.data() + p0 * w.panel_bytes);
      product.primitive.execute(
          state.stream, {{DNNL_ARG_SRC, memory(product.x, cpu(), state.x.data())},
                         {DNNL_ARG_WEIGHTS, memory(product.w, cpu(), codes)},
                         {DNNL_ARG_DST, memory(product.sums, cpu(), state.sums.data())},
                         {DNNL_ARG_SCRATCHPAD, memory(product.scratchpad, cpu(), state.scratchpad.data())}});
      state.stream.wait();
      for (int64_t p = p0; p < p0 + count; ++p) {
        int32_t* sums = state.sums.data() + (p - p0) * panel_rows;
        const int32_t* row_sums = w.row_sums.data() + p * panel_rows;
        for (int64_t m = 0; m < part.rows; ++m)  // the 128 of every input leaves again
          for (int64_t n = 0; n < panel_rows; ++n) sums[m * outputs + n] -= 128 * row_sums[n];
        kernels().scale_sums(w, part, p, sums, outputs, part_y);
      }
    }
  }
}

}  // namespace whittle
