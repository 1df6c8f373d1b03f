#pragma once
// How far a model's predictions are from another's, and the derivative.

#include "quant/gradient/matrix.h"

namespace whittle {

// Σ over rows of KL(p ‖ q), p = softmax(target / T), q = softmax(logits / T), in nats. `logits` are replaced
// by factor · T² · dKL/dlogits = factor · T · (q − p), row by row: T² keeps the derivative's size when T
// changes (Hinton et al., 1503.02531).
double kl_backward(const Team& team, const Matrix& target, float temperature, float factor, Matrix& logits);

}  // namespace whittle
