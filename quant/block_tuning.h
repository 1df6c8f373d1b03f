#pragma once
// The roundings of one layer tuned by gradient, so that what comes out of the layer is near to what comes out
// of it in the unquantized model (AutoRound, arXiv 2309.05516): what the layers before have lost is made good
// as well as what this one loses. Codes and int8 activations are those of run time. Parameters and steps are
// those of tuning.h; memory is one layer, whatever the model's size.

#include <cstdint>
#include <map>
#include <string>

#include "quant/token_stream.h"
#include "quant/tuning.h"

namespace whittle {

struct BlockTuningOptions {
  int64_t steps = 0;            // 0: no tuning
  int64_t windows_at_once = 4;  // of a step
  float rounding_rate = 2e-3f;  // as in TuningOptions; scales are left to the fit by least squares
  float weight_rate = 4e-3f;
  int64_t evaluations = 4;  // of the judge, evenly spread, the last one after the last step; at least 1
};

struct TunedBlock {
  // All of the task's; `loss` and `output_error` are as they were.
  std::map<std::string, QuantizedMatrix> matrices;
  // The root of Σ |out − wanted|² / Σ |wanted − in|², on windows that no step saw.
  double error_before = 0, error_after = 0;
};

// task.matrices: linears of the layer. inputs: what goes into it, as the layers before have become; outputs:
// what is wanted, which comes out of the same layer of the unquantized model; both of the windows
// task.training, of which the last eighth is the judge. The best of what was given and what was measured:
// error_after ≤ error_before, always. One window alone changes nothing. The same bits for any number of
// threads. Throws Error.
TunedBlock tune_block(const TuningTask& task, int64_t layer, const TokenStream& inputs,
                      const TokenStream& outputs, const BlockTuningOptions& options, const Team& team);

}  // namespace whittle
