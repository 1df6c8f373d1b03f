#pragma once
// Rotary position embedding (Su et al., 2021, "RoFormer"), with Hugging Face's pairing (i, i + head_dim / 2).

#include <cstdint>
#include <span>
#include <vector>

#include "engine/model_spec.h"

namespace whittle {

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

}  // namespace whittle
