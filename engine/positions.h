#pragma once
// How a token learns where it stands: by rotation of queries and keys, or by a slope of the scores.

#include <cstdint>
#include <span>
#include <vector>

#include "engine/model_spec.h"

namespace whittle {

// Rotary position embedding (Su et al., 2021, "RoFormer"), with Hugging Face's pairing (i, i + head_dim / 2).
class Rope {
 public:
  explicit Rope(const ModelSpec& spec);
  // cosines[head_dim / 2] and sines[head_dim / 2] of a position's angles.
  void angles(int64_t position, float* cosines, float* sines) const;

  // [head_dim / 2], in radians a position, scaling included.
  std::span<const float> inverse_frequencies() const { return inverse_frequencies_; }

 private:
  std::vector<float> inverse_frequencies_;
};

// ALiBi (Press et al., 2021): the slope of each head, as BLOOM's code takes them where heads are no power of
// two.
std::vector<float> alibi_slopes(int64_t heads);

// Throws Error where a table of learned positions does not reach as far as `context`.
void check_positions(const ModelSpec& spec, int64_t context);

}  // namespace whittle
