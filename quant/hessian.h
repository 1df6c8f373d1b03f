#pragma once
// What a linear's inputs looked like: H = Σ x xᵀ over the rows of x that it read, which is half the Hessian
// of its squared output error, Σ |(w − ŵ)·x|² = (w − ŵ) H (w − ŵ)ᵀ.

#include <cstdint>
#include <vector>

#include "kernels/kernel_table.h"
#include "kernels/threads.h"

namespace whittle {

class Hessian {
 public:
  explicit Hessian(int64_t cols) : cols_(cols), sums_(static_cast<size_t>(cols * cols)) {}

  // Rows of `cols` values. Sums within a call are float32, those over calls are not.
  void add(const Team& team, FloatRows rows);

  int64_t cols() const { return cols_; }
  int64_t rows_seen() const { return rows_seen_; }
  // [cols, cols], symmetric, divided by the rows seen.
  std::vector<float> mean() const;

 private:
  int64_t cols_;
  int64_t rows_seen_ = 0;
  std::vector<double> sums_;  // [cols, cols]; of a panel's columns, the rows up to its last one
};

// G = Σ x x₀ᵀ of inputs x and of those x₀ that the unquantized model has in their place.
class CrossMoment {
 public:
  explicit CrossMoment(int64_t cols) : cols_(cols), sums_(static_cast<size_t>(cols * cols)) {}

  // As many rows of both; sums as in Hessian.
  void add(const Team& team, FloatRows rows, FloatRows original);

  // [cols of x, cols of x₀], divided by the rows seen.
  std::vector<float> mean() const;

 private:
  int64_t cols_;
  int64_t rows_seen_ = 0;
  std::vector<double> sums_;
};

}  // namespace whittle
