#include "bench/drift/drift_position.h"

#include <algorithm>
#include <cmath>

#include "bench/likelihood.h"

namespace whittle {

int32_t most_likely(std::span<const float> logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

DriftPosition compare_predictions(std::span<const float> baseline, std::span<const float> model,
                                  int32_t target) {
  const double baseline_norm = log_sum_exp(baseline), model_norm = log_sum_exp(model);
  DriftPosition position;
  position.baseline_nll = baseline_norm - static_cast<double>(baseline[static_cast<size_t>(target)]);
  position.model_nll = model_norm - static_cast<double>(model[static_cast<size_t>(target)]);
  for (size_t i = 0; i < baseline.size(); ++i) {
    const double log_p = static_cast<double>(baseline[i]) - baseline_norm;
    const double log_q = static_cast<double>(model[i]) - model_norm;
    position.kl += std::exp(log_p) * (log_p - log_q);
  }
  position.kl = std::max(position.kl, 0.0);  // rounding may leave −1e-17 where both agree
  position.same_top = most_likely(baseline) == most_likely(model);
  return position;
}

}  // namespace whittle
