#pragma once
// Round to nearest, with the scale that loses least.
//
// A group's scale decides which values are representable. Taking it from the largest magnitude wastes levels
// on one outlier; clipping that outlier costs its own error and gains everyone else's. The scale is searched
// that minimises the squared error of the group, as stored: over a grid below the largest magnitude, then
// between the grid's points. Where it is known how much an error of each input costs, it counts as much.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "engine/files/quantization_config.h"
#include "engine/files/safetensors.h"
#include "kernels/weight_matrix.h"

namespace whittle {

// Where the codes, scales and zero points of one row go.
struct RoundedRow {
  std::byte* codes = nullptr;     // row_bytes(format, cols)
  float* scales = nullptr;        // [groups]
  int8_t* zero_points = nullptr;  // [groups], or nullptr for a symmetric scheme
};

// To the nearest integer, halves to the even one, in a loop that vectorizes; |value| < 2²².
inline float nearest(float value) {
  constexpr float shift = 0x1.8p23f;  // beside it no fraction is left
  return (value + shift) - shift;
}

// How well a group's scale can be stored. `coarse`: in F16, with fewer bits than BF16 has, or not without
// clipping more than is best. `lost`: no scale of that type stands for any of the group's values.
enum class ScaleFit : uint8_t { good, coarse, lost };

struct RowFit {
  ScaleFit fit = ScaleFit::good;  // of the worst group
  int64_t group = 0;              // the first such group
};

// Quantizes one row. Scales come out exact in `scale_dtype` (F16, BF16 or F32); those of lost groups are 0.
// Values must be finite. All of them times a power of two give the same codes, as long as scales fit.
// importance: what a squared error of each input costs, [cols], finite and not negative; nullptr: all the
// same.
RowFit round_row(const float* row, int64_t cols, const QuantizationScheme& scheme, DType scale_dtype,
                 RoundedRow out, const float* importance = nullptr);

// `scale` as it is stored; none where that type has nothing near it.
std::optional<float> stored_scale(float scale, DType dtype);

}  // namespace whittle
