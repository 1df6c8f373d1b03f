#pragma once
// Products of float32 matrices in memory, for the offline work: the runtime's own kernels on all threads.

#include <cstdint>
#include <vector>

#include "kernels/buffer.h"
#include "kernels/kernel_table.h"
#include "kernels/packed_weight.h"
#include "kernels/threads.h"

namespace whittle {

// Rows of `cols` floats each, packed by all threads.
PackedWeight packed_floats(const Team& team, const float* values, int64_t rows, int64_t cols);

// C = A · Bᵀ. Every element is one chain of multiply-adds in order of k, whoever computes it: the same bits
// for any number of threads.
class Product {
 public:
  // Team must outlive this.
  explicit Product(const Team& team) : team_(team) {}
  Product(const Team& team, FloatRows a, int64_t cols, const float* b, int64_t b_rows, int64_t b_stride)
      : team_(team) {
    compute(a, cols, b, b_rows, b_stride);
  }

  // The M rows of `a`, K = cols values each, by the N rows of `b`, of `b_stride` ≥ cols floats. In the place
  // of the product before, whose memory is used again.
  void compute(FloatRows a, int64_t cols, const float* b, int64_t b_rows, int64_t b_stride);

  // Row m of C, [N].
  const float* row(int64_t m) const { return values_.data() + m * stride_; }

 private:
  const Team& team_;
  int64_t stride_ = 0;
  Buffer<float> values_, dense_;
};

}  // namespace whittle
