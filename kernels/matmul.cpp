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

}  // namespace

void matmul(const PackedWeight& w, const QuantizedRows& x, Range panels, MatmulOutput y) {
  static const bool onednn = onednn_wanted();
  if (onednn && x.rows >= onednn_rows && onednn_accepts(w, x)) return onednn_matmul(w, x, panels, y);
  kernels().matmul_quantized(w, x, panels, y);
}

}  // namespace whittle
