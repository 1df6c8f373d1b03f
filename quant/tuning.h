#pragma once
// Quantized weights tuned end to end, by gradient: what is made small is KL(original ‖ quantized) of the next
// token, on text that the model wrote itself, with codes and int8 activations as at run time.
//
//   scales, norms   codes stay (EfficientQAT's second phase, arXiv 2407.11062, and MLX's DWQ tune scales so)
//   roundings       each weight is a place on its group's grid, which moves and is rounded in every step; the
//                   rounding counts as the identity (Bengio et al., 1308.3432). AutoRound (2309.05516) does
//                   so block by block.
//
// All at once, by Adam (Kingma and Ba, 1412.6980), at rates that fall linearly to zero.

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "engine/weight_source.h"
#include "kernels/threads.h"
#include "quant/quantized_matrix.h"
#include "quant/replaced_weights.h"
#include "quant/tuning_state.h"

namespace whittle {

struct TuningOptions {
  int64_t passes = 1;           // over the training windows, each in an order of its own
  int64_t windows_at_once = 2;  // of a step
  float temperature = 1;        // of the loss
  // How far a step moves a parameter at first; 0: that kind stays as it is.
  float scale_rate = 2e-3f;     // of a scale, as a fraction of it
  float norm_rate = 1e-3f;      // of a norm's weight, as a fraction of it
  float rounding_rate = 1e-3f;  // of a weight, in codes
  float weight_rate = 2e-3f;    // of a weight that stays a float, as a fraction of its row's root mean square
  int64_t evaluations = 4;      // held-out measurements, the last one after the last step
  uint64_t seed = 1;            // of the windows' order
};

struct TuningTask {
  struct Matrix {
    QuantizedMatrix quantized;  // or pruned floats
    int64_t activation_group_size = 0;
    bool pruned = false;  // what is zero stays zero
  };
  const WeightSource& original;                // floats
  const WeightSource& written;                 // the same, as a file will hold what stays floats
  std::map<std::string, Matrix> matrices;      // by module: linears of the layers
  std::vector<std::vector<int32_t>> training;  // windows of ids
  // A norm's weight as the file will hold it.
  std::function<float(const Module& norm, float weight)> stored;
  // Mean KL from the original, on held-out text, of a model with other matrices and norms. Throws Error where
  // logits are not finite.
  std::function<double(const ReplacedWeights& model)> judge;
};

struct TuningResult {
  std::map<std::string, QuantizedMatrix> matrices;  // all of the task's; `loss` is as it was
  std::map<std::string, std::vector<float>> norms;  // weights of those that changed
  double kl_before = 0, kl_after = 0;               // nats a token, held out
  int64_t best_step = 0;                            // whose weights these are; 0: those that were given
};

// All may be empty.
struct TuningHooks {
  std::function<void(int64_t step, int64_t steps, double kl)> progress;  // kl: of the step's windows, at T
  std::function<void(int64_t step, double kl)> evaluated;                // held out
  std::function<void(const TuningState&)> checkpoint;  // after each evaluation but the first
};

// The best of what was given and what the held-out measurements saw: kl_after ≤ kl_before, always. Scales and
// norms are measured as they will be stored. The same bits for any number of threads, and for a run that goes
// on from a checkpoint of the same task and options (`resume`; nullptr: from the start). Throws Error, also
// where windows are fewer than a step takes.
TuningResult tune(const TuningTask& task, const TuningOptions& options, const Team& team,
                  const TuningHooks& hooks = {}, const TuningState* resume = nullptr);

}  // namespace whittle
