#pragma once
// Chooses the next token from logits.

#include <cstdint>
#include <optional>
#include <random>
#include <span>
#include <vector>

namespace whittle {

struct SamplerOptions {
  float temperature = 0;  // 0: always the most likely token
  int64_t top_k = 0;      // keep the k most likely; 0: all
  float top_p = 1;        // keep the fewest tokens that hold this probability (Holtzman et al., 2019)
  float min_p = 0;        // keep tokens at least this fraction as likely as the best
  float repetition_penalty =
      1;  // divide positive, multiply negative logits of tokens seen (Keskar et al., 2019)
  uint64_t seed = 0;
};

class Sampler {
 public:
  // Throws Error when an option is out of its range.
  explicit Sampler(const SamplerOptions& options);

  // `seen`: prompt and output so far, for the repetition penalty. Filters are applied in the order in which
  // the options stand above, each on what the one before left. Among equal logits the smaller id is taken
  // first. A logit of -infinity is a token that is never taken. Throws Error where a logit is NaN or
  // +infinity, none is finite, or a token of `seen` has no logit.
  int32_t sample(std::span<const float> logits, std::span<const int32_t> seen);

 private:
  struct Candidate {
    float logit;
    int32_t id;
  };
  std::span<const float> block(size_t at) const;
  std::span<const float> penalise(std::span<const float> logits, std::span<const int32_t> seen);
  void find_maxima();
  float take_likeliest(size_t count);
  double weigh();
  std::optional<size_t> choose(double total, double draw, bool all) const;

  SamplerOptions options_;
  std::mt19937_64 random_;
  // Of the token that is being chosen:
  std::span<const float> logits_;
  std::vector<float> penalised_;  // logits after the repetition penalty
  std::vector<float> maxima_;     // of the logits, block by block
  float top_ = 0;                 // the largest logit
  std::vector<Candidate> candidates_;
  std::vector<double> weights_;
};

}  // namespace whittle
