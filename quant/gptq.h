#pragma once
// Rounding with error feedback (feedback.h), then scales fitted to the codes (scale_fitter.h), in turns.
//
// Columns go by falling diagonal of H ("act-order"), while groups stay as they lie in the file, with scales
// from the original weights: nothing has to be gathered at run time.

#include <span>

#include "quant/gptq_options.h"
#include "quant/input_statistics.h"
#include "quant/quantized_matrix.h"

namespace whittle {

// Codes of `weights` [rows, cols], floats and finite. No row's error (w − ŵ) H (w − ŵ)ᵀ is above that of
// rounding to nearest with the same search of scales; with inputs.cross, no row's |w·x₀ − ŵ·x|².
// pruned: what these are to become instead, [rows, cols]: codes stand for zero where it is zero, and start
// from it; empty: no weight is pruned.
QuantizedMatrix gptq(const WeightMatrix& weights, const QuantizationScheme& scheme, DType scale_type,
                     const InputStatistics& inputs, const GptqOptions& options, const Team& team,
                     std::span<const float> pruned = {});

}  // namespace whittle
