#pragma once
// What a decoder computes apart from products and attention, and the derivative of each. Forward operations
// are the runtime's own kernels. Here and below, d_x stands for dL/dx of a loss L.

#include <bit>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/layer.h"
#include "engine/model_spec.h"
#include "quant/gradient/matrix.h"

namespace whittle {

// e^x within 2⁻²² of its value, 0 below e^-87, e^88 above 88: without a call, so that loops over it
// vectorize, and the same bits for any instruction set. x = n · ln 2 + r, |r| ≤ ln 2 / 2, and the series of
// e^r to r⁷.
inline float exponential(float x) {
  constexpr float shift = 0x1.8p23f;  // adding it leaves the nearest whole number in the low bits
  const float least = x < -87.0f ? -87.0f : x, bounded = least > 88.0f ? 88.0f : least;
  const float shifted = bounded * 1.44269504f + shift, n = shifted - shift;
  const float r = (bounded - n * 0.693145752f) - n * 1.42860677e-6f;
  float series = 1.0f / 720 + r * (1.0f / 5040);
  series = 1.0f / 24 + r * (1.0f / 120 + r * series);
  series = 1.0f + r * (1.0f + r * (0.5f + r * (1.0f / 6 + r * series)));
  const uint32_t power = (std::bit_cast<uint32_t>(shifted) + 127u) << 23;  // 2ⁿ
  const uint32_t kept = x < -87.0f ? 0u : ~0u;
  return std::bit_cast<float>(std::bit_cast<uint32_t>(series * std::bit_cast<float>(power)) & kept);
}

// y = norm(x), row by row.
void normalise(const Team& team, const ModelSpec& spec, const Norm& norm, const Matrix& x, Matrix& y);
// d_x += what d_y says of x; d_norm (of the norm's shape) becomes what it says of weight and bias.
void normalise_backward(const Team& team, const ModelSpec& spec, const Norm& norm, const Matrix& x,
                        const Matrix& d_y, Matrix& d_x, Norm& d_norm);

// y = activation(gate) · up; without gate: activation(up).
void activate(const Team& team, const ModelSpec& spec, const Matrix& gate, const Matrix& up, Matrix& y);
// d_gate and d_up become the derivatives.
void activate_backward(const Team& team, const ModelSpec& spec, const Matrix& gate, const Matrix& up,
                       const Matrix& d_y, Matrix& d_gate, Matrix& d_up);

// Rows as a quantized linear with this group size (0: floats, a copy) sees them: to int8 and back. For
// derivatives it counts as the identity (a straight-through estimate: Bengio et al., 1308.3432).
void quantize_inputs(const Team& team, const Matrix& x, int64_t group_size, Matrix& y);

// Column sums.
std::vector<float> sum_rows(const Team& team, const Matrix& x);

}  // namespace whittle
