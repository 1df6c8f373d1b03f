#pragma once
// What a baseline predicts at one position, made small enough to keep: the log probabilities of its k most
// likely tokens in 16 bits each, and all others as one mass. With k = the vocabulary nothing is left out. The
// true token's log probability and the most likely token are kept as they are, so that perplexities and the
// same-top rate lose nothing.
//
// KL of what was stored, and how far it can be from the exact one. p: the baseline, q: the model, known
// exactly; T: the k tokens; R = Σ p over the others, Q = Σ q over them; P = 1 − R.
//
//   KL = Σ_T p ln(p/q) + Σ_others p ln(p/q)
//
// In T. Stored are l̂ = −scale · code with |l̂ − ln p| ≤ h; h is half of `scale`, and 1e-9 for all that double
// precision rounds on the way. p̃ = P e^l̂ / Σ_T e^l̂ is what the stored values say. The divisor is off by a
// factor within e^±h, so |ln(p̃/p)| ≤ 2h. Then
//
//   Σ_T p̃ ln(p̃/q) − Σ_T p ln(p/q) = Σ_T p̃ ln(p̃/p) + Σ_T (p̃ − p) ln(p/q).
//
// The first sum is P times the divergence of two distributions of which one is the other, tilted by exponents
// that lie within a range of 2h: at most P h²/2 (a tilt t adds t · Var, and Var ≤ h²), at least 0. In the
// second |p̃ − p| ≤ (e^2h − 1) p̃ and |ln(p/q)| ≤ |ln(p̃/q)| + 2h, so that its size is at most
//
//   E = (e^2h − 1) (Σ_T p̃ |ln(p̃/q)| + 2h P).
//
// The others. By the log sum inequality their sum is at least L = R ln(R/Q), which is what is taken. It is a
// convex function of their p, of which is known that they add up to R and that none is above c, the least of
// T: at most e^2h times the least p̃. A convex function is largest at a corner of that set: ⌊R/c⌋ tokens have
// c, one has what remains, the rest nothing; and these are the tokens of least q. That is U, the upper bound.
//
//   stored KL − E − P h²/2 ≤ KL ≤ stored KL + E + (U − L)
//
// With all tokens stored that is about 1e-4 of a nat and less. U takes it that the model is as wrong as can
// be about the unlikely tokens: for k below the vocabulary, the bound above is wide where much mass is left.

#include <cstdint>
#include <span>
#include <vector>

#include "bench/drift/drift_position.h"

namespace whittle {

struct StoredPrediction {
  std::vector<uint16_t> codes;   // of each token of T; without indices, of every token of the vocabulary
  std::vector<int32_t> indices;  // of T, the most likely first; empty: all tokens
  float scale = 0;               // nats a step of the codes
  double rest = 0;               // R
  double target = 0;             // ln p of the true token
  int32_t top = 0;               // the most likely token
};

// top: k, from 1; the vocabulary or more: all tokens. Throws Error where a log probability is not finite.
StoredPrediction store_prediction(std::span<const float> logits, int32_t target, int64_t top);

// Throws Error, which names what of the stored values cannot be: "codes", "indices", "rest", …
DriftPosition compare_predictions(const StoredPrediction& baseline, std::span<const float> model,
                                  int32_t target);

}  // namespace whittle
