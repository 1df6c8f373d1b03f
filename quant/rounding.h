#pragma once
// Round to nearest, with the scale that loses least.
//
// A group's scale decides which values are representable. Taking it from the largest magnitude wastes levels
// on one outlier; clipping that outlier costs its own error and gains everyone else's. The scale is searched
// that minimises the squared error of the group, as stored: over a grid below the largest magnitude, then
// between the grid's points. The search looks at the weights alone.

#include <cstddef>
#include <cstdint>
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

// Quantizes one row. Scales come out exact in `scale_dtype` (F16 or F32). Values must be finite.
void round_row(const float* row, int64_t cols, const QuantizationScheme& scheme, DType scale_dtype,
               RoundedRow out);

}  // namespace whittle
