#pragma once
// Float32 matrices and their products, by the runtime's own kernels on all threads. Every element of a
// product is one chain of multiply-adds in order of k, whoever computes it: the same bits for any number of
// threads.

#include <cstdint>
#include <vector>

#include "kernels/buffer.h"
#include "kernels/kernel_table.h"
#include "kernels/packed_weight.h"
#include "kernels/threads.h"

namespace whittle {

// [rows, cols], row by row. What lies between a row's end and the next row is scratch: kernels write whole
// panels there.
class Matrix {
 public:
  Matrix() = default;
  Matrix(int64_t rows, int64_t cols) { reshape(rows, cols); }
  // What it held is lost. Memory is kept, so that a matrix that is filled again and again costs no page
  // faults.
  void reshape(int64_t rows, int64_t cols);

  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  int64_t stride() const { return stride_; }
  float* row(int64_t m) { return values_.data() + m * stride_; }
  const float* row(int64_t m) const { return values_.data() + m * stride_; }
  FloatRows view() const { return {rows_, stride_, values_.data()}; }
  FloatRows view(Range rows) const { return {rows.size(), stride_, row(rows.begin)}; }

 private:
  int64_t rows_ = 0, cols_ = 0, stride_ = 0;
  Buffer<float> values_;
};

void fill(const Team& team, Matrix& matrix, float value);
// x += y.
void add(const Team& team, Matrix& x, const Matrix& y);
// to = fromᵀ.
void transpose(const Team& team, const Matrix& from, Matrix& to);
// Σ a·b, Σ a and max a as sixteen running ones and then theirs: an order that no instruction set changes.
float dot(const float* a, const float* b, int64_t n);
float sum(const float* a, int64_t n);
float largest(const float* a, int64_t n);

// The right side of a product, in the order in which kernels read it (kernels/packed_weight.h: panels of 64
// outputs, and within a panel input by input).
class Panels {
 public:
  // Room for `rows` outputs of `cols` inputs; memory is kept as in Matrix.
  void reshape(int64_t rows, int64_t cols);
  // For a · bᵀ: b [outputs, inputs].
  void pack(const Team& team, const Matrix& b);
  // For a · b: b [inputs, outputs].
  void pack_transposed(const Team& team, const Matrix& b);

  const PackedWeight& packed() const { return packed_; }
  // [cols][64]: the inputs of 64 outputs. For those who fill it themselves.
  float* panel(int64_t index) {
    return reinterpret_cast<float*>(packed_.panels.data() + index * packed_.panel_bytes);
  }

 private:
  PackedWeight packed_;
};

// c = a · (what b was packed for); a [M, inputs of b]. c is reshaped to [M, outputs of b].
void multiply(const Team& team, FloatRows a, const Panels& b, Matrix& c);

}  // namespace whittle
