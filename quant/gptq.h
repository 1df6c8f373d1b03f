#pragma once
// Rounding with error feedback: what a column's rounding does to the outputs is made good by the columns that
// are still floats (GPTQ, arXiv 2210.17323), then the scales are fitted again to the codes (after
// 2602.02126).
//
// Columns go by falling diagonal of H ("act-order"), while groups stay as they lie in the file, with scales
// from the original weights: nothing has to be gathered at run time.

#include <cstdint>
#include <span>
#include <vector>

#include "quant/hessian.h"
#include "quant/quantized_matrix.h"

namespace whittle {

struct GptqOptions {
  double damping = 0.01;  // λ, as a fraction of the mean of H's diagonal
  bool activation_order = true;
  // Error feedback with the scales as they are, then the scales that fit its codes best: so many times, the
  // best of all kept for each row.
  int rounds = 3;
  double ridge = 1e-3;  // holds fitted scales to the old ones, as a fraction of the system's diagonal
};

// What all linears that read the same inputs share.
struct InputStatistics {
  std::vector<float> h;           // [cols, cols], mean of x xᵀ
  std::vector<float> importance;  // its diagonal, the largest 1
  std::vector<int64_t> order;     // of the columns
  std::vector<float> factor;      // inverse_factor of H in that order
};
// Takes the Hessian's memory.
InputStatistics input_statistics(Hessian&& hessian, const GptqOptions& options);

// Codes of `weights` [rows, cols], floats and finite. No row's error (w − ŵ) H (w − ŵ)ᵀ is above that of
// rounding to nearest with the same search of scales.
QuantizedMatrix gptq(const WeightMatrix& weights, const QuantizationScheme& scheme, DType scale_type,
                     const InputStatistics& inputs, const GptqOptions& options, const Team& team);

// (w − ŵ) H (w − ŵ)ᵀ of every row of the differences [rows, cols].
std::vector<double> output_errors(std::span<const float> differences, int64_t rows,
                                  const InputStatistics& inputs, const Team& team);

// Σ w H wᵀ over the rows: what their outputs are in all, in the unit of output_errors.
double output_power(const WeightMatrix& weights, const InputStatistics& inputs, const Team& team);

}  // namespace whittle
