// SparseGPT (Frantar et al., arXiv 2301.00774): error feedback as in feedback.h, of columns that are taken
// away instead of rounded. Which ones is decided as late as possible, from the weights as they are by then:
// before each block of columns, or before each group of a pattern.

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/files/interrupts.h"
#include "quant/inverse_factor.h"
#include "quant/product.h"
#include "quant/pruning/pruner.h"

namespace whittle {
namespace {

constexpr int64_t block_cols = 128;

class SparseGpt {
 public:
  SparseGpt(const PruningTask& task, const Team& team)
      : sparsity_(task.sparsity),
        rows_(task.rows),
        cols_(task.cols),
        team_(team),
        // A group of the pattern lies in one block.
        width_(sparsity_.of ? block_cols / sparsity_.of * sparsity_.of : block_cols),
        factor_(inverse_factor(task.inputs->h, cols_, task.damping, team)),
        weights_(task.weights.begin(), task.weights.end()) {}

  std::vector<float> run() {
    std::vector<float> errors(static_cast<size_t>(rows_ * width_));
    for (int64_t begin = 0; begin < cols_; begin += width_) {
      check_interrupted();
      const int64_t end = std::min(cols_, begin + width_);
      const Mask mask = sparsity_.of ? Mask() : keep_in_block(begin, end);
      team_.for_each(rows_, [&](int64_t row) {
        prune_block(row, begin, end, mask.empty() ? nullptr : mask.data() + row * (end - begin),
                    errors.data() + row * width_);
      });
      if (end < cols_) pass_on(begin, end, errors.data());
    }
    return std::move(weights_);
  }

 private:
  float factor(int64_t i, int64_t j) const { return factor_[static_cast<size_t>(i * cols_ + j)]; }
  float* row_of(int64_t row) { return weights_.data() + row * cols_; }
  // What taking a weight away costs.
  float score(float weight, int64_t col) const { return std::abs(weight / factor(col, col)); }

  Mask keep_in_block(int64_t begin, int64_t end) {
    std::vector<float> scores(static_cast<size_t>(rows_ * (end - begin)));
    team_.for_each(rows_, [&](int64_t row) {
      for (int64_t i = begin; i < end; ++i)
        scores[static_cast<size_t>(row * (end - begin) + i - begin)] = score(row_of(row)[i], i);
    });
    return keep_highest(scores, end - begin, sparsity_);
  }

  Mask keep_in_group(const float* weights, int64_t first, int64_t last) const {
    std::vector<float> scores;
    for (int64_t i = first; i < last; ++i) scores.push_back(score(weights[i], i));
    return keep_highest(scores, last - first, sparsity_);
  }

  // Columns [begin, end) of a row, one after the other. errors: what each left, over its factor.
  void prune_block(int64_t row, int64_t begin, int64_t end, const uint8_t* mask, float* errors) {
    float* const weights = row_of(row);
    Mask group;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t in_group = sparsity_.of ? i % sparsity_.of : 0;
      if (sparsity_.of && in_group == 0) group = keep_in_group(weights, i, std::min(cols_, i + sparsity_.of));
      const bool kept = sparsity_.of ? group[static_cast<size_t>(in_group)] : mask[i - begin];
      const float error = kept ? 0 : weights[i] / factor(i, i);
      errors[i - begin] = error;
      if (kept) continue;
      weights[i] = 0;
      const float* const factors = factor_.data() + i * cols_;
      for (int64_t j = i + 1; j < end; ++j) weights[j] -= error * factors[j];
    }
  }

  // What the errors of [begin, end) take off the columns behind.
  void pass_on(int64_t begin, int64_t end, const float* errors) {
    const int64_t behind = cols_ - end, width = end - begin;
    std::vector<float> factors(static_cast<size_t>(behind * width));  // [behind, width]
    team_.for_each(behind, [&](int64_t j) {
      for (int64_t i = 0; i < width; ++i)
        factors[static_cast<size_t>(j * width + i)] = factor(begin + i, end + j);
    });
    const Product moved(team_, {rows_, width_, errors}, width, factors.data(), behind, width);
    team_.for_each(rows_, [&](int64_t row) {
      for (int64_t j = 0; j < behind; ++j) row_of(row)[end + j] -= moved.row(row)[j];
    });
  }

  const Sparsity sparsity_;
  const int64_t rows_, cols_;
  const Team& team_;
  const int64_t width_;
  const std::vector<float> factor_;  // of H⁻¹, columns as they lie
  std::vector<float> weights_;
};

}  // namespace

std::vector<float> prune_by_sparsegpt(const PruningTask& task, const Team& team) {
  return SparseGpt(task, team).run();
}

}  // namespace whittle
