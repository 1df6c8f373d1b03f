#pragma once
// What a model and its baseline say of one position of a text.

#include <cstdint>
#include <span>

namespace whittle {

struct DriftPosition {
  double baseline_nll = 0, model_nll = 0;  // of the true token
  double kl = 0;                           // KL(baseline ‖ model)
  bool same_top = false;                   // both find the same token most likely; the first of equals
  // Where the baseline was stored (stored_prediction.h): the exact KL lies in [kl − kl_below, kl + kl_above].
  double kl_below = 0, kl_above = 0;
};

// The index of the largest, the first of equals.
int32_t most_likely(std::span<const float> logits);

// target: the true token. What is not finite in the logits makes `kl` or `model_nll` not finite.
DriftPosition compare_predictions(std::span<const float> baseline, std::span<const float> model,
                                  int32_t target);

}  // namespace whittle
