#pragma once
// Qronos' first step (arXiv 2505.11695): behind quantized layers a linear reads x where it read x₀, and its
// weights are to give the old outputs for the new inputs, as far as they can.

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/threads.h"
#include "quant/input_statistics.h"

namespace whittle {

// Of a matrix [rows, cols], with H the mean of x xᵀ, G that of x₀ xᵀ. All are empty where x is x₀.
struct InputMismatch {
  // w (G − H): |w·x₀ − ŵ·x|² is (w − ŵ) H (w − ŵ)ᵀ + 2 (w − ŵ)·pull, and what w itself leaves of the
  // mismatch.
  std::vector<float> pull;
  // w (G + λI) (H + λI)⁻¹, which has the least |w·x₀ − ŵ·x|² + λ |w − ŵ|²: error feedback from here on finds,
  // after each column, the best that is left.
  std::vector<float> weights;
  // [rows]: the first column in order, as it would be best if all others stayed at w. (Qronos rounds this
  // one.)
  std::vector<float> first;
};
InputMismatch input_mismatch(std::span<const float> weights, int64_t rows, const InputStatistics& inputs,
                             const Team& team);

}  // namespace whittle
