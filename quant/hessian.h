#pragma once
// What a linear's inputs looked like: H = Σ x xᵀ over the rows of x that it read, which is half the Hessian
// of its squared output error, Σ |(w − ŵ)·x|² = (w − ŵ) H (w − ŵ)ᵀ.

#include <cstdint>
#include <vector>

#include "kernels/buffer.h"
#include "kernels/kernel_table.h"
#include "kernels/threads.h"

namespace whittle {

// Rows wait until they are so many: every product then goes through the sums once.
class RowBatch {
 public:
  static constexpr int64_t most_rows = 2048;

  explicit RowBatch(int64_t cols) : cols_(cols) {}
  // How many of `rows`, from `first` on, it has taken: those that there was room for.
  int64_t take(FloatRows rows, int64_t first);
  int64_t cols() const { return cols_; }
  bool full() const { return count_ == most_rows; }
  int64_t count() const { return count_; }
  // Each input's values side by side, [cols, count()].
  Buffer<float> transposed(const Team& team) const;
  void clear() { count_ = 0; }

 private:
  int64_t cols_, count_ = 0;
  Buffer<float> values_;  // [most_rows, cols]
};

class Hessian {
 public:
  explicit Hessian(int64_t cols) : cols_(cols), batch_(cols), sums_(static_cast<size_t>(cols * cols)) {}

  // Rows of `cols` values. Sums within a batch are float32, those over batches are not.
  void add(const Team& team, FloatRows rows);

  int64_t cols() const { return cols_; }
  // [cols, cols], symmetric, divided by the rows seen.
  std::vector<float> mean(const Team& team);

 private:
  void add_batch(const Team& team);

  int64_t cols_;
  int64_t rows_seen_ = 0;
  RowBatch batch_;
  Buffer<float> products_;    // of a batch
  std::vector<double> sums_;  // [cols, cols]; of a panel's columns, the rows up to its last one
};

// G = Σ x yᵀ, of inputs x and of those y that the unquantized model has in their place, or of whatever else
// comes row by row.
class CrossMoment {
 public:
  explicit CrossMoment(int64_t cols) : CrossMoment(cols, cols) {}
  CrossMoment(int64_t x_cols, int64_t y_cols)
      : x_(x_cols), y_(y_cols), sums_(static_cast<size_t>(x_cols * y_cols)) {}

  // As many rows of both; sums as in Hessian.
  void add(const Team& team, FloatRows x, FloatRows y);

  // [cols of x, cols of y], divided by the rows seen.
  std::vector<float> mean(const Team& team);

 private:
  void add_batch(const Team& team);

  int64_t rows_seen_ = 0;
  RowBatch x_, y_;
  Buffer<float> products_;
  std::vector<double> sums_;
};

}  // namespace whittle
