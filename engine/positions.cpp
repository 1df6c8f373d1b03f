#include "engine/positions.h"

#include <cmath>
#include <numbers>

#include "kernels/error.h"

namespace whittle {
namespace {

// Llama 3's rule: long wavelengths are stretched by `factor`, short ones kept, those between blended.
double llama3_scaled(double frequency, const RopeScaling& scaling) {
  const double wavelength = 2 * std::numbers::pi / frequency;
  const auto original = static_cast<double>(scaling.original_max_position_embeddings);
  if (wavelength < original / scaling.high_freq_factor) return frequency;
  if (wavelength > original / scaling.low_freq_factor) return frequency / scaling.factor;
  const double smooth = (original / wavelength - scaling.low_freq_factor) /
                        (scaling.high_freq_factor - scaling.low_freq_factor);
  return (1 - smooth) * frequency / scaling.factor + smooth * frequency;
}

}  // namespace

Rope::Rope(const ModelSpec& spec) {
  if (spec.positions != Positions::rope) return;
  for (int64_t i = 0; i < spec.head_dim / 2; ++i) {
    double frequency =
        std::pow(spec.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(spec.head_dim));
    switch (spec.rope_scaling.type) {
      case RopeScalingType::none: break;
      case RopeScalingType::linear: frequency /= spec.rope_scaling.factor; break;
      case RopeScalingType::llama3: frequency = llama3_scaled(frequency, spec.rope_scaling); break;
    }
    inverse_frequencies_.push_back(static_cast<float>(frequency));
  }
}

void Rope::angles(int64_t position, float* cosines, float* sines) const {
  for (size_t i = 0; i < inverse_frequencies_.size(); ++i) {
    // The angle is rounded to float32 as in the models' own training code: far positions depend on it.
    const float angle = static_cast<float>(position) * inverse_frequencies_[i];
    cosines[i] = static_cast<float>(std::cos(static_cast<double>(angle)));
    sines[i] = static_cast<float>(std::sin(static_cast<double>(angle)));
  }
}

std::vector<float> alibi_slopes(int64_t heads) {
  // 2^(-8/n), its powers, for the largest power of two n ≤ heads; then every other one of those for 2n.
  int64_t whole = 1;
  while (2 * whole <= heads) whole *= 2;
  std::vector<float> slopes;
  const auto add = [&](int64_t of, int64_t first, int64_t step, int64_t count) {
    const double base = std::exp2(-8.0 / static_cast<double>(of));
    for (int64_t i = 0; i < count; ++i)
      slopes.push_back(static_cast<float>(std::pow(base, static_cast<double>(first + i * step))));
  };
  add(whole, 1, 1, whole);
  add(2 * whole, 1, 2, heads - whole);
  return slopes;
}

void check_positions(const ModelSpec& spec, int64_t context) {
  if (spec.positions == Positions::learned && context > spec.max_position_embeddings)
    fail("a context of {} positions is more than the model's table of {} (max_position_embeddings) holds",
         context, spec.max_position_embeddings);
}

}  // namespace whittle
