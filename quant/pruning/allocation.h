#pragma once
// Which part of each linear's weights becomes zero, so that all together lose a given part.

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "quant/calibration.h"
#include "quant/method.h"
#include "quant/recipe.h"

namespace whittle {

struct AllocationTask {
  const WeightSource& source;    // floats
  const QuantizationPlan& plan;  // whose modules of `zeros` are to share it
  const CalibrationText& text;
  double zeros = 0;
  int64_t memory = int64_t{4} << 30;  // as of RunOptions; `kl` holds the model whatever it says
  std::filesystem::path spill;        // where streams of tokens may lie
};

// owl: layers with more outliers, weights whose |w| · √(mean x²) is above five times their layer's mean, lose
// less (Yin et al., arXiv 2310.05175): up to 0.08 more or less than the mean.
// kl: each linear is pruned alone, of its weights those of the least w² · mean(x²), and the KL divergence
// says what that costs. How the cost grows is taken from the sum of w² · mean(x²) of what goes; the least sum
// of costs wins, within 0.25 of the mean. By module. The same for any number of threads.
std::map<std::string, double> allocate_sparsity(SparsityAllocation allocation, const AllocationTask& task,
                                                const Team& team, const StageProgress& progress);

}  // namespace whittle
