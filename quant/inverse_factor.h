#pragma once
// The factor of an inverse that error feedback needs (GPTQ, arXiv 2210.17323).

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/threads.h"

namespace whittle {

// U, upper triangular [n, n], with (H + λI)⁻¹ = UᵀU, of the symmetric positive semi-definite H [n, n]. λ
// begins at `damping` times the mean of H's diagonal and grows tenfold until H + λI has a factor; where H is
// zero, U is the identity. Computed in float64, in one order whatever the CPU.
std::vector<float> inverse_factor(std::span<const float> h, int64_t n, double damping, const Team& team);

// x with (A + λI) x = b for a symmetric positive semi-definite A [n, n], λ = `ridge` times A's diagonal, of
// which zeros count as ones.
std::vector<double> solve(std::span<const double> a, std::span<const double> b, double ridge);

}  // namespace whittle
