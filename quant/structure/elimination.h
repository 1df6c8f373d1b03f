#pragma once
// Which inputs of a linear its outputs miss least: inputs are taken out group by group, the cheapest first,
// and each time the weights that remain make good what they can (Optimal Brain Surgeon in groups, as in
// ZipLM, arXiv 2302.04089).

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/threads.h"

namespace whittle {

struct Elimination {
  std::vector<int64_t> order;  // groups, the first to go first
  // [groups + 1]: Σ over the outputs of the mean square of what is lost when so many are gone.
  std::vector<double> errors;

  // The groups that remain when so many do, ascending.
  std::vector<int64_t> kept(int64_t count) const;
};

// weights [rows, cols], h [cols, cols] the mean of x xᵀ; groups are `width` inputs side by side. Taking out R
// costs Σ w_R ([H⁻¹]_RR)⁻¹ w_Rᵀ over the rows, of the weights as they are by then; `at_once` groups go before
// the others are priced again, and share what they cost. H is damped by 0.01 of its mean diagonal. In
// float64, the same for any number of threads.
Elimination eliminate(std::span<const float> weights, int64_t rows, std::span<const float> h, int64_t cols,
                      int64_t width, int64_t at_once, const Team& team);

}  // namespace whittle
