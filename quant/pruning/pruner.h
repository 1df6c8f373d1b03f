#pragma once
// Which weights of a matrix become zero, and what becomes of the others: a file and a table row a method.

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "kernels/threads.h"
#include "quant/input_statistics.h"
#include "quant/pruning/sparsity.h"

namespace whittle {

enum class PruningMethod : uint8_t {
  magnitude,  // the smallest go
  wanda,      // the smallest go, each times the root mean square of its input (Sun et al., arXiv 2306.11695)
  sparsegpt,  // column by column, each one's error taken off those to come (Frantar et al., arXiv 2301.00774)
  alps,       // by alternating directions, then fitted (Meng et al., arXiv 2406.07831)
};
std::string_view name(PruningMethod method);
std::optional<PruningMethod> pruning_method_named(std::string_view name);
// All of them, in the order of PruningMethod.
std::span<const std::string_view> pruning_method_names();

struct PruningTask {
  std::span<const float> weights;  // [rows, cols], finite: what would be best if all could stay
  int64_t rows = 0, cols = 0;
  Sparsity sparsity;
  double damping = 0.01;                    // λ of H + λI, as a fraction of the mean of H's diagonal
  const InputStatistics* inputs = nullptr;  // H of `cols` inputs; nullptr for magnitude
};

// The weights, as many of them zero as the task says, or more where they were before. The same bits for any
// number of threads and on every instruction set. Throws Error when interrupted.
std::vector<float> prune(PruningMethod method, const PruningTask& task, const Team& team);

// The methods themselves.
std::vector<float> prune_by_magnitude(const PruningTask& task, const Team& team);
std::vector<float> prune_by_wanda(const PruningTask& task, const Team& team);
std::vector<float> prune_by_sparsegpt(const PruningTask& task, const Team& team);
std::vector<float> prune_by_alps(const PruningTask& task, const Team& team);

}  // namespace whittle
