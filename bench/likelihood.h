#pragma once
// Logits as log probabilities: log p(i) = logits[i] − log_sum_exp(logits).

#include <span>

namespace whittle {

// ln Σ exp(logits), in double, summed from the first to the last.
double log_sum_exp(std::span<const float> logits);

}  // namespace whittle
