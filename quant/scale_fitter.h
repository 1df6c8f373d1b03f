#pragma once
// Scales fitted to codes by least squares over what the linear reads (after arXiv 2602.02126).

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/threads.h"
#include "kernels/weight_matrix.h"
#include "quant/input_statistics.h"
#include "quant/product.h"

namespace whittle {

// The scales that serve codes best: for each row the minimum over s of (w − s∘v) H (w − s∘v)ᵀ, v = code −
// zero point, which is A·s = b with A_gh = v_g H_gh v_hᵀ and b_g = v_g·(wH)_g; with inputs x₀ that the
// unquantized model reads, of |w·x₀ − (s∘v)·x|², in which wG stands for wH, G the mean of x₀ xᵀ.
class ScaleFitter {
 public:
  // All must outlive this. ridge: holds the scales to those of `grid` at the time, as a fraction of A's
  // diagonal.
  ScaleFitter(std::span<const float> weights, const WeightMatrix& grid, const InputStatistics& inputs,
              double ridge, const Team& team);

  int64_t cols() const { return grid_.cols; }
  // wG of a row, [cols].
  const float* pulled(int64_t row) const { return pulled_.row(row); }

  // For `steps` = code − zero point, [rows, cols]. [rows, groups], not yet as stored.
  std::vector<double> run(std::span<const float> steps) const;

 private:
  double dot(int64_t g, const float* a, const float* b) const;  // Σ over the columns of group g
  void fit(int64_t begin, int64_t end, const float* steps, std::vector<double>& scales) const;

  const WeightMatrix& grid_;
  const InputStatistics& inputs_;
  double ridge_;
  const Team& team_;
  Product pulled_;  // wG, [rows, cols]
};

}  // namespace whittle
