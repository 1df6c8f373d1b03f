#pragma once
// Chooses the next token from logits.

#include <cstdint>
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
  // first.
  int32_t sample(std::span<const float> logits, std::span<const int32_t> seen);

 private:
  struct Candidate {
    float logit;
    int32_t id;
  };
  SamplerOptions options_;
  std::mt19937_64 random_;
  std::vector<Candidate> candidates_;
};

}  // namespace whittle
