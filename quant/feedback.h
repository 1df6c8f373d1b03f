#pragma once
// Error feedback: what a column's rounding does to the outputs is made good by the columns that are still
// floats (GPTQ, arXiv 2210.17323).

#include <span>
#include <vector>

#include "kernels/threads.h"
#include "kernels/weight_matrix.h"
#include "quant/input_statistics.h"

namespace whittle {

// What is rounded: [rows, cols].
struct FeedbackTask {
  std::span<const float> weights;
  // What is rounded in the place of each row's first column in order, [rows]; empty: that column.
  std::span<const float> first;
  // Whether a weight that is zero stays zero, whatever the others' errors would make of it.
  bool pruned = false;
  double beta = 0;  // see GptqOptions
};

// The code of every weight on the grid of scales and zero points of `grid`, whose codes are not read.
std::vector<float> round_with_feedback(const FeedbackTask& task, const WeightMatrix& grid,
                                       const InputStatistics& inputs, const Team& team);

}  // namespace whittle
