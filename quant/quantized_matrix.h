#pragma once
// A module's matrix as codes, and what that cost.

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "engine/files/quantization_config.h"
#include "engine/files/safetensors.h"
#include "engine/weight_source.h"
#include "kernels/threads.h"
#include "kernels/weight_matrix.h"
#include "quant/rounding.h"

namespace whittle {

struct QuantizedMatrix {
  WeightMatrix matrix;  // owns its codes
  DType scale_type = DType::F32;
  ScaleFit fit = ScaleFit::good;
  int64_t row = 0, group = 0;   // that fits worst
  double error = 0, power = 0;  // Σ(w − ŵ)², Σw²
  double loss = 0;              // what the method made small: that, or the error of the outputs
  // Over what the linear read of a text; 0: not known. √(Σ(y − ŷ)² / Σy²) by its weights' rounding and, at
  // run time, by its inputs'; the mean of Σy² of a token.
  double output_error = 0, input_error = 0, output_power = 0;

  // Writable only until others share the codes.
  std::byte* codes(int64_t at_row) const;
};

// Room for the codes, scales and zero points of [rows, cols], or for its floats.
QuantizedMatrix empty_matrix(const QuantizationScheme& scheme, int64_t rows, int64_t cols, DType scale_type);

// Every row by round_row, with its `importance`. Values must be finite.
QuantizedMatrix round_to_nearest(const WeightMatrix& weights, const QuantizationScheme& scheme,
                                 DType scale_type, const float* importance, const Team& team);

// A module of a source, with the scale type that loses least; lets go of its pages.
QuantizedMatrix round_to_nearest(const WeightSource& source, const Module& module,
                                 const QuantizationScheme& scheme, const Team& team);

// Values [rows, cols] of a module as floats of that format; error and power are against `weights`. Throws
// Error that names the module where one is not finite then.
QuantizedMatrix as_floats(const std::string& module, const WeightMatrix& weights,
                          std::span<const float> values, WeightFormat format, const Team& team);

// Sets error and power: summed row by row and then in order, so that they do not depend on the threads.
void measure(const WeightMatrix& weights, QuantizedMatrix& quantized, const Team& team);

// Group scales are stored in 16 bits, BF16 where F16 does not reach them or loses more; one a row costs
// nothing in 32.
QuantizedMatrix with_best_scale_type(const QuantizationScheme& scheme,
                                     const std::function<QuantizedMatrix(DType)>& quantize);
DType scale_dtype(const QuantizationScheme& scheme);
// The other, or the same: what does not fit it fits none.
DType widest_scale_dtype(const QuantizationScheme& scheme);

// Bytes of a matrix so stored, scales and zero points included.
int64_t stored_bytes(const QuantizationScheme& scheme, int64_t rows, int64_t cols, DType scale_type);

}  // namespace whittle
