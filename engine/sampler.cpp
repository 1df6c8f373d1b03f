#include "engine/sampler.h"

#include <algorithm>
#include <cmath>

#include "kernels/error.h"

namespace whittle {

Sampler::Sampler(const SamplerOptions& options) : options_(options), random_(options.seed) {
  const auto require = [](bool fits, const char* name, const char* range, double value) {
    if (!fits) fail("{}: expected {}, found {}", name, range, value);
  };
  require(options.temperature >= 0 && std::isfinite(options.temperature), "--temperature", "0 or more",
          options.temperature);
  require(options.top_k >= 0, "--top-k", "0 or more", static_cast<double>(options.top_k));
  require(options.top_p > 0 && options.top_p <= 1, "--top-p", "above 0, at most 1", options.top_p);
  require(options.min_p >= 0 && options.min_p <= 1, "--min-p", "0 to 1", options.min_p);
  require(options.repetition_penalty > 0 && std::isfinite(options.repetition_penalty), "--repetition-penalty",
          "above 0", options.repetition_penalty);
}

int32_t Sampler::sample(std::span<const float> logits, std::span<const int32_t> seen) {
  candidates_.resize(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) candidates_[i] = {logits[i], static_cast<int32_t>(i)};
  if (options_.repetition_penalty != 1) {
    for (const int32_t id : seen) {  // from the original logit: a token seen twice is penalised once
      const float logit = logits[static_cast<size_t>(id)];
      candidates_[static_cast<size_t>(id)].logit =
          logit > 0 ? logit / options_.repetition_penalty : logit * options_.repetition_penalty;
    }
  }
  const auto likelier = [](const Candidate& a, const Candidate& b) {
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
  };
  if (options_.temperature == 0)
    return std::min_element(candidates_.begin(), candidates_.end(), likelier)->id;

  const auto size = static_cast<int64_t>(candidates_.size());
  const int64_t kept = options_.top_k ? std::min(options_.top_k, size) : size;
  std::partial_sort(candidates_.begin(), candidates_.begin() + kept, candidates_.end(), likelier);
  candidates_.resize(static_cast<size_t>(kept));

  std::vector<double> weights;
  double total = 0;
  for (const Candidate& candidate : candidates_) {
    const double relative =
        static_cast<double>(candidate.logit - candidates_.front().logit) / options_.temperature;
    weights.push_back(std::exp(relative));
    total += weights.back();
  }
  double held = 0, wanted = options_.top_p * total;
  size_t count = 0;
  while (count < weights.size() && held < wanted && weights[count] >= options_.min_p)
    held += weights[count++];
  // One draw a token whatever the options, and our own scaling: std::discrete_distribution differs between
  // libraries.
  double draw = static_cast<double>(random_() >> 11) * 0x1p-53 * held;
  for (size_t i = 0; i + 1 < count; ++i) {
    draw -= weights[i];
    if (draw < 0) return candidates_[i].id;
  }
  return candidates_[count ? count - 1 : 0].id;
}

}  // namespace whittle
