#pragma once
// Which packing a weight gets when it is loaded: a sparse one where its codes allow it and one row of inputs
// is then faster on this machine. It changes no bit of any result.

#include <cstdint>
#include <vector>

#include "kernels/packed_weight.h"

namespace whittle {

struct PackingChoice {
  enum class Reason : uint8_t { probed, asked, no_instruction };

  WeightFormat format = WeightFormat::f32;
  Packing fits = Packing::dense;   // the sparse packing in question; dense: none would be smaller
  Packing taken = Packing::dense;  // that one, or dense
  Reason reason = Reason::probed;
  double speedup = 0;  // of it against dense, where it was probed
};

class WeightSource;
struct Module;

// For the matrix of a linear or head, or some rows of it. Probes once for all that are alike.
PackingChoice choose_packing(const WeightSource& source, const Module& module, const WeightMatrix& matrix,
                             const Team& team);

// Linears of a model with the same choice.
struct PackingCount {
  PackingChoice choice;  // of the first
  int64_t linears = 0;
  double least_speedup = 0, most_speedup = 0;
};
// Counts what has a sparse packing in question.
void count_packing(std::vector<PackingCount>& counts, const PackingChoice& choice);

}  // namespace whittle
