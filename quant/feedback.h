#pragma once
// Error feedback: what a column's rounding does to the outputs is made good by the columns that are still
// floats (GPTQ, arXiv 2210.17323).

#include <span>
#include <vector>

#include "kernels/threads.h"
#include "kernels/weight_matrix.h"
#include "quant/input_statistics.h"

namespace whittle {

// The code of every weight of [rows, cols] on the grid of scales and zero points of `grid`, whose codes are
// not read. first: what is rounded in the place of each row's first column in order; empty: that column.
// beta: see GptqOptions.
std::vector<float> round_with_feedback(std::span<const float> weights, std::span<const float> first,
                                       const WeightMatrix& grid, const InputStatistics& inputs, double beta,
                                       const Team& team);

}  // namespace whittle
