#pragma once
// The weights that stay, fitted to the outputs once it is known which these are.

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/threads.h"

namespace whittle {

// Moves `weights` [rows, cols] to where (w − wanted) A (w − wanted)ᵀ is least for each row, of the w that are
// zero where `weights` is: by conjugate gradients, a step a product of all rows, `steps` of them at most. A
// [cols, cols] is symmetric and positive definite; its diagonal preconditions. No row ends with a larger
// error than it had.
void fit_support(std::span<float> weights, std::span<const float> wanted, std::span<const float> a,
                 int64_t cols, int64_t steps, const Team& team);

}  // namespace whittle
