#pragma once
// What int8 activations cost: the error that rounding a linear's inputs at run time leaves in its outputs.

#include <cstdint>
#include <vector>

#include "kernels/kernel_table.h"
#include "kernels/threads.h"
#include "kernels/weight_matrix.h"

namespace whittle {

class InputRounding {
 public:
  // group_size: inputs that share an activation scale; 0: all of a token.
  InputRounding(int64_t cols, int64_t group_size)
      : cols_(cols), group_size_(group_size), squares_(static_cast<size_t>(cols)) {}

  // Rows of `cols` inputs, finite.
  void add(const Team& team, FloatRows rows);

  // √(Σ |W (x − x̂)|² / Σ |W x|²) over the rows seen, the errors of two inputs taken to have nothing to do
  // with each other. power: the mean of |W x|².
  double relative_error(const WeightMatrix& weights, double power, const Team& team) const;

 private:
  int64_t cols_, group_size_;
  int64_t rows_seen_ = 0;
  std::vector<double> squares_;  // Σ (x − x̂)² of each input
};

}  // namespace whittle
