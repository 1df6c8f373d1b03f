#include "bench/drift/stored_prediction.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "bench/likelihood.h"
#include "kernels/error.h"

namespace whittle {
namespace {

constexpr double most_code = std::numeric_limits<uint16_t>::max();
constexpr double rounding = 1e-9;

// The k most likely tokens, the first of equals first.
std::vector<int32_t> likeliest(std::span<const float> logits, int64_t k) {
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto before = [&](int32_t a, int32_t b) {
    const float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  };
  std::ranges::nth_element(order, order.begin() + k, before);
  order.resize(static_cast<size_t>(k));
  std::ranges::sort(order, before);
  return order;
}

// U of the header: the most that tokens with these ln q can add, which have the mass `rest` and at most
// `most` each.
double most_of_rest(std::vector<double>& log_q, double rest, double most) {
  if (rest <= 0) return 0;
  const auto whole = std::min(static_cast<int64_t>(rest / most), std::ssize(log_q) - 1);
  const auto border = log_q.begin() + whole;
  std::ranges::nth_element(log_q, border);
  double sum = 0;
  for (auto at = log_q.begin(); at != border; ++at) sum += most * (std::log(most) - *at);
  const double remains = rest - static_cast<double>(whole) * most;
  return remains > 0 ? sum + remains * (std::log(remains) - *border) : sum;
}

// What is known of the tokens of T.
struct Kept {
  double kl = 0, size = 0;  // Σ p̃ ln(p̃/q) and Σ p̃ |ln(p̃/q)|
  double least = 1;         // the smallest p̃
};

Kept compare_kept(const StoredPrediction& baseline, std::span<const float> model, double model_norm) {
  const double scale = static_cast<double>(baseline.scale), mass = 1 - baseline.rest;
  double sum = 0;
  for (const uint16_t code : baseline.codes) sum += std::exp(-scale * code);
  const double shift = std::log(mass) - std::log(sum);
  // Beyond what rounding can do, the values are no distribution.
  if (!(std::fabs(shift) <= 0.51 * scale + 1e-6))
    fail("codes and rest: probabilities add up to {}", sum + baseline.rest);
  Kept kept;
  for (size_t i = 0; i < baseline.codes.size(); ++i) {
    const size_t token = baseline.indices.empty() ? i : static_cast<size_t>(baseline.indices[i]);
    const double log_p = shift - scale * baseline.codes[i], p = std::exp(log_p);
    const double term = p * (log_p - (static_cast<double>(model[token]) - model_norm));
    kept.kl += term;
    kept.size += std::fabs(term);
    kept.least = std::min(kept.least, p);
  }
  return kept;
}

// ln q of all tokens that were not kept.
std::vector<double> rest_of(std::span<const int32_t> indices, std::span<const float> model, double norm) {
  std::vector<char> kept(model.size());
  for (const int32_t index : indices) {
    if (index < 0 || index >= std::ssize(model))
      fail("indices: token {}, of a vocabulary of {}", index, model.size());
    if (std::exchange(kept[static_cast<size_t>(index)], 1)) fail("indices: token {} appears twice", index);
  }
  std::vector<double> log_q;
  for (size_t i = 0; i < model.size(); ++i)
    if (!kept[i]) log_q.push_back(static_cast<double>(model[i]) - norm);
  return log_q;
}

}  // namespace

StoredPrediction store_prediction(std::span<const float> logits, int32_t target, int64_t top) {
  const double norm = log_sum_exp(logits);
  StoredPrediction stored;
  stored.top = most_likely(logits);
  const auto log_p = [&](int32_t token) {
    return static_cast<double>(logits[static_cast<size_t>(token)]) - norm;
  };
  double least = 0;
  for (size_t i = 0; i < logits.size(); ++i) least = std::min(least, log_p(static_cast<int32_t>(i)));
  if (!std::isfinite(least) || !std::isfinite(norm)) fail("the logits are not finite");
  stored.target = std::min(log_p(target), 0.0);
  const auto size = static_cast<int32_t>(logits.size());
  if (top < size) {
    stored.indices = likeliest(logits, top);
    least = std::min(log_p(stored.indices.back()), 0.0);
    std::vector<char> kept(logits.size());
    for (const int32_t token : stored.indices) kept[static_cast<size_t>(token)] = 1;
    for (int32_t token = 0; token < size; ++token)
      if (!kept[static_cast<size_t>(token)]) stored.rest += std::exp(log_p(token));
  }
  // Rounded up, so that the least log probability has a code.
  stored.scale = std::nextafter(static_cast<float>(-least / most_code), std::numeric_limits<float>::max());
  const auto keep = [&](int32_t token) {
    const double code = std::round(-log_p(token) / static_cast<double>(stored.scale));
    stored.codes.push_back(static_cast<uint16_t>(std::clamp(code, 0.0, most_code)));
  };
  if (stored.indices.empty())
    for (int32_t token = 0; token < size; ++token) keep(token);
  else
    std::ranges::for_each(stored.indices, keep);
  return stored;
}

DriftPosition compare_predictions(const StoredPrediction& baseline, std::span<const float> model,
                                  int32_t target) {
  const double norm = log_sum_exp(model), rest = baseline.rest;
  DriftPosition position;
  position.baseline_nll = -baseline.target;
  position.model_nll = norm - static_cast<double>(model[static_cast<size_t>(target)]);
  position.same_top = baseline.top == most_likely(model);
  position.kl = norm;  // what is not finite stays so, and has no order either
  if (!std::isfinite(norm)) return position;
  std::vector<double> others;
  if (!baseline.indices.empty()) others = rest_of(baseline.indices, model, norm);

  const double h = static_cast<double>(baseline.scale) / 2 + rounding, tilt = std::expm1(2 * h);
  if (!std::isfinite(tilt)) fail("scale: steps of {} nats say nothing", baseline.scale);
  const Kept kept = compare_kept(baseline, model, norm);
  const double error = tilt * (kept.size + 2 * h * (1 - rest));
  double lower = 0, upper = 0;  // L and U
  if (rest > 0) {
    const double most = kept.least * (1 + tilt);
    if (rest > most * static_cast<double>(others.size()) * (1 + rounding))
      fail("rest: {} is more than {} tokens can have, none of which is above {}", rest, others.size(), most);
    const double top = *std::ranges::max_element(others);
    double q = 0;
    for (const double log_q : others) q += std::exp(log_q - top);
    lower = rest * (std::log(rest) - top - std::log(q));
    upper = std::max(lower, most_of_rest(others, rest, most));
  }
  const double kl = kept.kl + lower;
  position.kl = std::max(kl, 0.0);
  position.kl_below = std::min(error + (1 - rest) * h * h / 2 + (position.kl - kl), position.kl);
  position.kl_above = std::max(error + upper - lower - (position.kl - kl), 0.0);
  return position;
}

}  // namespace whittle
