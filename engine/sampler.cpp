#include "engine/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numbers>

#include "kernels/option_error.h"

// The definition is a full sort: order all tokens by likelihood, sum their weights in that order, keep the
// fewest that the filters ask for, draw among these. Sorting a whole vocabulary takes longer than a layer of
// a small model. So only the likeliest tokens are sorted, and the sum of the others is known within bounds:
// where both bounds give the same token, the exact sum gives it too. Else more tokens are sorted.

namespace whittle {
namespace {

constexpr size_t block_size = 64;
constexpr float lowest = std::numeric_limits<float>::lowest();

// NaN and +infinity make `valid` false.
float largest_of(std::span<const float> logits, bool& valid) {
  float largest = -std::numeric_limits<float>::infinity();
  int invalid = 0;
#pragma omp simd reduction(max : largest) reduction(| : invalid)
  for (size_t i = 0; i < logits.size(); ++i) {
    largest = logits[i] > largest ? logits[i] : largest;
    invalid |= !(logits[i] <= std::numeric_limits<float>::max());
  }
  valid = valid && !invalid;
  return largest;
}

// Σ exp((logit − top) / temperature) of the logits below `threshold`, with a relative error of at most
// `rough_error`; `scale` is log2(e) / temperature. Weights below 2^-126 count as that.
constexpr double rough_error = 5e-5;
float rough_weights(std::span<const float> logits, float threshold, float top, float scale) {
  constexpr float ln2 = std::numbers::ln2_v<float>;
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (size_t i = 0; i < logits.size(); ++i) {
    const float exponent = (logits[i] - top) * scale;
    const float shown = logits[i] < threshold ? exponent : -126.0f;
    const float power = shown > -126.0f ? shown : -126.0f;
    const int32_t whole = static_cast<int32_t>(power - 0.5f);
    const float x = (power - static_cast<float>(whole)) * ln2;  // |x| ≤ ln 2 / 2
    const float series = 1 + x * (1 + x * (1 / 2.0f + x * (1 / 6.0f + x * (1 / 24.0f + x * (1 / 120.0f)))));
    sum += series * std::bit_cast<float>((whole + 127) << 23);
  }
  return sum;
}

}  // namespace

Sampler::Sampler(const SamplerOptions& options) : options_(options), random_(options.seed) {
  const auto require = [](bool fits, const char* name, const char* range, double value) {
    if (!fits) fail_option(name, "expected {}, found {}", range, value);
  };
  require(options.temperature >= 0 && std::isfinite(options.temperature), "temperature", "0 or more",
          options.temperature);
  require(options.top_k >= 0, "top_k", "0 or more", static_cast<double>(options.top_k));
  require(options.top_p > 0 && options.top_p <= 1, "top_p", "above 0, at most 1", options.top_p);
  require(options.min_p >= 0 && options.min_p <= 1, "min_p", "0 to 1", options.min_p);
  require(options.repetition_penalty > 0 && std::isfinite(options.repetition_penalty), "repetition_penalty",
          "above 0", options.repetition_penalty);
}

int32_t Sampler::sample(std::span<const float> logits, std::span<const int32_t> seen) {
  logits_ = options_.repetition_penalty == 1 ? logits : penalise(logits, seen);
  find_maxima();
  if (options_.temperature == 0) {
    const size_t at = block_size * static_cast<size_t>(std::ranges::find(maxima_, top_) - maxima_.begin());
    const std::span<const float> part = block(at);
    return static_cast<int32_t>(at) + static_cast<int32_t>(std::ranges::find(part, top_) - part.begin());
  }

  // One draw a token whatever the options, and our own scaling: std::discrete_distribution differs between
  // libraries.
  const double draw = static_cast<double>(random_() >> 11) * 0x1p-53;
  const size_t size = logits_.size();
  const size_t kept = options_.top_k ? std::min(static_cast<size_t>(options_.top_k), size) : size;
  const auto scale = static_cast<float>(std::numbers::log2e / static_cast<double>(options_.temperature));
  const double rounding = 2 * static_cast<double>(size) * std::numeric_limits<double>::epsilon();
  for (size_t sorted = 256;; sorted *= 8) {
    // The sum of the k likeliest needs all of them; no bounds are known at an infinite scale.
    const float threshold = take_likeliest(kept < size ? kept : std::isfinite(scale) ? sorted : size);
    if (kept < candidates_.size()) candidates_.resize(kept);
    const double total = weigh();
    if (kept < size || threshold == lowest) return candidates_[*choose(total, draw, true)].id;

    const auto chosen = [&](double least, double most) {
      const std::optional<size_t> first = choose(least, draw, false);
      return first == choose(most, draw, false) ? first : std::nullopt;
    };
    const double none_likelier = static_cast<double>(size - candidates_.size()) * weights_.back();
    std::optional<size_t> found = chosen(total, (total + none_likelier) * (1 + rounding));
    if (!found) {
      double others = 0;
      for (size_t at = 0; at < size; at += block_size)
        others += static_cast<double>(rough_weights(block(at), threshold, top_, scale));
      found = chosen(std::max(total, (total + others * (1 - rough_error)) * (1 - rounding)),
                     (total + others * (1 + rough_error)) * (1 + rounding));
    }
    if (found) return candidates_[*found].id;
  }
}

std::span<const float> Sampler::block(size_t at) const {
  return logits_.subspan(at, std::min(block_size, logits_.size() - at));
}

std::span<const float> Sampler::penalise(std::span<const float> logits, std::span<const int32_t> seen) {
  penalised_.assign(logits.begin(), logits.end());
  for (const int32_t id : seen) {  // from the original logit: a token seen twice is penalised once
    if (id < 0 || static_cast<size_t>(id) >= logits.size())
      fail("sampling: token id {} is not among the {} logits", id, logits.size());
    const float logit = logits[static_cast<size_t>(id)];
    penalised_[static_cast<size_t>(id)] =
        logit > 0 ? logit / options_.repetition_penalty : logit * options_.repetition_penalty;
  }
  return penalised_;
}

void Sampler::find_maxima() {
  maxima_.clear();
  bool valid = true;
  for (size_t at = 0; at < logits_.size(); at += block_size) maxima_.push_back(largest_of(block(at), valid));
  top_ = maxima_.empty() ? 0 : *std::ranges::max_element(maxima_);
  if (maxima_.empty() || !valid || !std::isfinite(top_)) {
    const auto bad = std::ranges::find_if(
        logits_, [](float logit) { return !(logit <= std::numeric_limits<float>::max()); });
    if (bad != logits_.end())
      fail("sampling: the logit of token {} is {}: the model's output is no longer a number",
           bad - logits_.begin(), *bad);
    fail("sampling: none of the {} logits is finite", logits_.size());
  }
}

// The likeliest tokens go to candidates_, in order: all that reach the logit which is returned, at least
// `count` of them, or all whose logit is finite (the others have no weight). That so many reach it is certain
// where it is the `count`-th largest of the blocks' maxima.
float Sampler::take_likeliest(size_t count) {
  float threshold = lowest;
  if (count < maxima_.size()) {
    std::vector<float> order = maxima_;
    const auto nth = order.begin() + static_cast<int64_t>(count) - 1;
    std::nth_element(order.begin(), nth, order.end(), std::greater());
    threshold = std::max(threshold, *nth);
  }
  candidates_.clear();
  for (size_t b = 0; b < maxima_.size(); ++b) {
    if (!(maxima_[b] >= threshold)) continue;
    const std::span<const float> part = block(b * block_size);
    for (size_t i = 0; i < part.size(); ++i)
      if (part[i] >= threshold) candidates_.push_back({part[i], static_cast<int32_t>(b * block_size + i)});
  }
  const auto likelier = [](const Candidate& a, const Candidate& b) {
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
  };
  std::sort(candidates_.begin(), candidates_.end(), likelier);
  return threshold;
}

// The candidates' weights, that of the likeliest being 1, and their sum in order.
double Sampler::weigh() {
  weights_.clear();
  double total = 0;
  for (const Candidate& candidate : candidates_) {
    const double relative = static_cast<double>(candidate.logit - top_) / options_.temperature;
    weights_.push_back(std::exp(relative));
    total += weights_.back();
  }
  return total;
}

// Which candidate a draw of [0, 1) takes if all weights have this sum; nothing where that depends on tokens
// which are no candidates. A larger sum never gives an earlier candidate, rounding included.
std::optional<size_t> Sampler::choose(double total, double draw, bool all) const {
  double held = 0, wanted = options_.top_p * total;
  size_t count = 0;
  while (count < weights_.size() && held < wanted && weights_[count] >= options_.min_p)
    held += weights_[count++];
  const bool more = !all && count == weights_.size() && held < wanted;  // others are kept too
  if (more) {
    if (options_.top_p < 1 || options_.min_p > 0) return std::nullopt;
    held = total;
  }
  double left = draw * held;
  for (size_t i = 0; i < count && (more || i + 1 < count); ++i) {
    left -= weights_[i];
    if (left < 0) return i;
  }
  if (more) return std::nullopt;
  return count ? count - 1 : 0;
}

}  // namespace whittle
