#pragma once
// The scales of a whole model's channels, found layer by layer from what its linears read of a text.

#include <functional>

#include "quant/calibration.h"
#include "quant/method.h"
#include "quant/recipe.h"
#include "quant/scaling.h"
#include "quant/work_folder.h"

namespace whittle {

enum class ScaleRule : uint8_t { awq, smoothquant };  // awq_scales, smoothquant_scales with α = ½

// Gives `scaled`, which is `source` unscaled, the scales of every producer whose readers the plan quantizes.
// The text is taken through the unquantized model. A norm's scales are such that its weight, as `stored`
// would have it in the file, still gives the same function. What is found is kept in `work`.
void find_scales(ScaleRule rule, const WeightSource& source, const QuantizationPlan& plan,
                 const CalibrationText& text, int64_t memory,
                 const std::function<float(const Module& norm, float weight)>& stored, WorkFolder& work,
                 const Team& team, const StageProgress& progress, ScaledWeights& scaled);

}  // namespace whittle
