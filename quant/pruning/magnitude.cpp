// By |w|, and by |w| · √(mean of x²): what stays keeps its value.

#include <algorithm>
#include <cmath>

#include "quant/pruning/pruner.h"

namespace whittle {
namespace {

std::vector<float> masked(const PruningTask& task, const Mask& mask) {
  std::vector<float> weights(task.weights.begin(), task.weights.end());
  for (size_t i = 0; i < weights.size(); ++i)
    if (!mask[i]) weights[i] = 0;
  return weights;
}

}  // namespace

std::vector<float> prune_by_magnitude(const PruningTask& task, const Team& team) {
  std::vector<float> scores(task.weights.begin(), task.weights.end());
  for (float& score : scores) score = std::abs(score);
  return masked(task, keep_highest(scores, task.cols, task.sparsity, &team));
}

// Rows are compared with themselves only.
std::vector<float> prune_by_wanda(const PruningTask& task, const Team& team) {
  Mask mask(task.weights.size());
  team.for_each(task.rows, [&](int64_t row) {
    std::vector<float> scores(static_cast<size_t>(task.cols));
    for (int64_t k = 0; k < task.cols; ++k) {
      const auto at = static_cast<size_t>(k);
      scores[at] = std::abs(task.weights[static_cast<size_t>(row * task.cols + k)]) *
                   std::sqrt(task.inputs->h[static_cast<size_t>(k * task.cols + k)]);
    }
    const Mask of_row = keep_highest(scores, task.cols, task.sparsity);
    std::copy(of_row.begin(), of_row.end(), mask.begin() + row * task.cols);
  });
  return masked(task, mask);
}

}  // namespace whittle
