#pragma once
// What all linears that read the same inputs share: the prices of their errors.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kernels/threads.h"
#include "kernels/weight_matrix.h"
#include "quant/gptq_options.h"
#include "quant/hessian.h"

namespace whittle {

struct InputStatistics {
  std::vector<float> h;           // [cols, cols], mean of x xᵀ
  std::vector<float> importance;  // its diagonal, the largest 1
  std::vector<int64_t> order;     // of the columns
  std::vector<float> factor;      // inverse_factor of H in that order
  std::vector<float>
      cross;  // [cols, cols], mean of x x₀ᵀ, x₀ what the unquantized model reads; empty: x₀ = x

  int64_t cols() const { return static_cast<int64_t>(importance.size()); }
};
// H and importance. Takes the Hessian's memory. Throws Error that names the linear where H is not finite.
InputStatistics input_statistics(const std::string& linear, Hessian&& hessian, const Team& team);
// And what error feedback needs.
InputStatistics input_statistics(const std::string& linear, Hessian&& hessian, const GptqOptions& options,
                                 const Team& team, std::vector<float> cross = {});
// Of the same inputs, each divided by its scale: H and importance.
InputStatistics scaled(const InputStatistics& inputs, std::span<const float> scales);

// (w − ŵ) H (w − ŵ)ᵀ of every row of the differences [rows, cols].
std::vector<double> output_errors(std::span<const float> differences, int64_t rows,
                                  const InputStatistics& inputs, const Team& team);

// Sums over the rows: (w − ŵ) H (w − ŵ)ᵀ, and w H wᵀ, the mean square of all outputs.
struct OutputError {
  double square = 0, power = 0;
  double relative() const;  // the root of their quotient; 0 where all outputs are
};
OutputError output_error(const WeightMatrix& weights, const WeightMatrix& quantized,
                         const InputStatistics& inputs, const Team& team);

}  // namespace whittle
