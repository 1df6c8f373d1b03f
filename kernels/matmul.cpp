#include "kernels/matmul.h"

#include <cstdlib>
#include <string_view>

#include "kernels/onednn_matmul.h"

namespace whittle {
namespace {

// oneDNN is asked only where its int8 product is exact. Fewer rows than this are bound by memory or pad
// oneDNN's blocks. WHITTLE_ONEDNN=0 leaves all work to our own kernels.
constexpr int64_t onednn_rows = 32;

bool onednn_wanted() {
  const char* value = std::getenv("WHITTLE_ONEDNN");
  return kernels().exact_u8s8 && !(value && std::string_view(value) == "0");
}

bool asks_onednn(const PackedWeight& w, const QuantizedRows& x) {
  static const bool wanted = onednn_wanted();
  return wanted && x.rows >= onednn_rows && onednn_accepts(w, x);
}

}  // namespace

void prepare_matmul(const PackedWeight& w, int64_t rows, int64_t group_size) {
  if (asks_onednn(w, {rows, w.padded_cols, group_size})) onednn_prepare(w, rows);
}

void matmul(const PackedWeight& w, const QuantizedRows& x, Range panels, MatmulOutput y) {
  asks_onednn(w, x) ? onednn_matmul(w, x, panels, y) : kernels().matmul_quantized(w, x, panels, y);
}

}  // namespace whittle
