#include "kernels/onednn_matmul.h"

#include <omp.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <dnnl.hpp>
#include <map>
#include <mutex>
#include <tuple>
#include <vector>

namespace whittle {
namespace {

using dnnl::memory;

// A call is cut into pieces of at most this size, so that sums stay in cache. Their shapes are few, since
// each takes a primitive: rows are padded to a multiple, and panels are taken by powers of two.
constexpr int64_t most_rows = 256, rows_multiple = 32, most_panels = 16;
static_assert(most_rows / rows_multiple * std::bit_width(static_cast<uint64_t>(most_panels)) ==
              onednn_shapes);
// Of masked panels that are made dense at once: in L2, or nearly. Of fewer panels oneDNN makes less.
constexpr int64_t most_expanded_bytes = 1536 * 1024;

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
    const OneThread one_thread;  // a primitive is planned for so many as it finds
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    const dnnl::matmul::primitive_desc description({x, w, sums}, attributes, cpu());
    scratchpad = description.scratchpad_desc();
    primitive = dnnl::matmul(description);
  }
};

// All products so far, made when they are first needed. Any number of threads may run one at the same time.
class Products {
 public:
  const Product& get(int64_t rows, int64_t outputs, int64_t cols) {
    const std::lock_guard lock(mutex_);
    return products_.try_emplace({rows, outputs, cols}, rows, outputs, cols).first->second;
  }
  int64_t size() {
    const std::lock_guard lock(mutex_);
    return static_cast<int64_t>(products_.size());
  }

 private:
  std::mutex mutex_;
  std::map<std::tuple<int64_t, int64_t, int64_t>, Product> products_;
};

Products& products() {
  static Products all;
  return all;
}

// What a thread keeps between calls.
struct ThreadState {
  dnnl::stream stream{cpu()};
  std::vector<uint8_t> x;
  std::vector<int32_t> sums;
  std::vector<std::byte> scratchpad;
  Buffer<std::byte> codes;  // of some masked panels, made dense
};

// Rows [m0, m0 + rows) of x as unsigned bytes, code + 128; the padding rows may hold anything.
void shift_codes(const QuantizedRows& x, int64_t m0, int64_t rows, std::vector<uint8_t>& shifted) {
  const int8_t* codes = x.codes + m0 * x.cols;
  std::transform(codes, codes + rows * x.cols, shifted.begin(),
                 [](int8_t code) { return static_cast<uint8_t>(code + 128); });
}

// Codes of `panels` as oneDNN wants them, where they lie or in `expanded`.
std::byte* dense_codes(const PackedWeight& w, Range panels, Buffer<std::byte>& expanded) {
  if (w.packing == Packing::dense) return const_cast<std::byte*>(w.panel(panels.begin));
  const int64_t panel_bytes = panel_rows * w.padded_cols;
  if (expanded.size() < panels.size() * panel_bytes)
    expanded = Buffer<std::byte>(panels.size() * panel_bytes, true);
  for (int64_t p = panels.begin; p < panels.end; ++p)
    kernels().expand(w.format, w.packing, w.panel(p), w.padded_cols,
                     expanded.data() + (p - panels.begin) * panel_bytes);
  return expanded.data();
}

// How many panels are multiplied at once, of `left` ones.
int64_t panels_at_once(const PackedWeight& w, int64_t left) {
  const int64_t fit = w.packing == Packing::dense
                          ? most_panels
                          : std::max<int64_t>(1, most_expanded_bytes / (panel_rows * w.padded_cols));
  return static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(std::min({most_panels, fit, left}))));
}

}  // namespace

int64_t onednn_primitives() { return products().size(); }

bool onednn_accepts(const PackedWeight& w, const QuantizedRows& x) {
  return w.summed_rows() > 0 && x.groups() == 1;
}

void onednn_prepare(const PackedWeight& w, int64_t rows) {
  for (int64_t m0 = 0; m0 < rows; m0 += most_rows)
    for (int64_t count = 1; count <= panels_at_once(w, w.panel_count()); count *= 2)
      products().get(round_up(std::min(most_rows, rows - m0), rows_multiple), count * panel_rows,
                     w.padded_cols);
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
    for (int64_t p0 = panels.begin, count; p0 < panels.end; p0 += count) {
      count = panels_at_once(w, panels.end - p0);
      const int64_t outputs = count * panel_rows;
      const Product& product = products().get(padded_rows, outputs, x.cols);
      state.sums.resize(static_cast<size_t>(padded_rows * outputs));
      state.scratchpad.resize(std::max(state.scratchpad.size(), product.scratchpad.get_size()));
      std::byte* codes = dense_codes(w, {p0, p0 + count}, state.codes);
      product.primitive.execute(
          state.stream, {{DNNL_ARG_SRC, memory(product.x, cpu(), state.x.data())},
                         {DNNL_ARG_WEIGHTS, memory(product.w, cpu(), codes)},
                         {DNNL_ARG_DST, memory(product.sums, cpu(), state.sums.data())},
                         {DNNL_ARG_SCRATCHPAD, memory(product.scratchpad, cpu(), state.scratchpad.data())}});
      state.stream.wait();
      for (int64_t p = p0; p < p0 + count; ++p) {
        int32_t* sums = state.sums.data() + (p - p0) * panel_rows;
        const int32_t* row_sums = w.row_sums.data() + p * panel_rows;
        for (int64_t m = 0; m < part.rows;
             ++m)  // the 128 of every input leaves again, in wrapping arithmetic
          for (int64_t n = 0; n < panel_rows; ++n) {
            int32_t& sum = sums[m * outputs + n];
            sum =
                static_cast<int32_t>(static_cast<uint32_t>(sum) - 128u * static_cast<uint32_t>(row_sums[n]));
          }
        kernels().scale_sums(w, part, p, sums, outputs, part_y);
      }
    }
  }
}

}  // namespace whittle
