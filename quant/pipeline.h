#pragma once
// The offline run: a Hugging Face folder in, a quantized one out, tensor by tensor.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "kernels/threads.h"
#include "quant/calibration.h"
#include "quant/recipe.h"

namespace whittle {

struct QuantizationReport {
  int64_t source_bytes = 0, written_bytes = 0;  // of the weight files
  int64_t modules = 0;                          // quantized
  // Over the quantized weights: stored bits each, scales and zero points included, and Σ(w − ŵ)² / Σw².
  double bits_per_weight = 0;
  double relative_error = 0;
  std::vector<std::string> notes;  // what other readers of the format will not take, a sentence each
};

// Called from one thread with the source bytes done so far and in all, and the module being worked on.
using Progress = std::function<void(int64_t done, int64_t total, const std::string& module)>;
// Gives the tokens of a method that looks at inputs; called once the plan is known to be good.
using Calibrate = std::function<CalibrationText()>;

// Peak memory of rounding to nearest is one tensor and its codes whatever the model's size. A method that
// looks at inputs has a layer, its codes, H of what its linears read, and the stream of all tokens, too;
// drawing the model's own text takes the whole model. `version` goes into the provenance. Throws Error for
// anything wrong with the source (a NaN names tensor and index, weights that no scale stands for tensor, row
// and group) or the disk; then `out` does not exist.
QuantizationReport quantize(const std::filesystem::path& source, const std::filesystem::path& out,
                            const Recipe& recipe, const Calibrate& calibrate, const Team& team,
                            const std::string& version, const Progress& progress);

}  // namespace whittle
