#pragma once
// What no weights may be, found before hours are spent on others. All throw Error that names file and tensor.

#include <cstdint>

#include "engine/weight_source.h"
#include "kernels/threads.h"
#include "quant/quantized_matrix.h"
#include "quant/recipe.h"

namespace whittle {

// Elements of a tensor from `first` on, `step` apart: names the first that is not finite.
void require_finite(const float* values, int64_t count, const TensorView& tensor, int64_t first,
                    int64_t step = 1);
void require_finite_weights(const FolderWeights& source, const Module& module, const Team& team);
// Every matrix. (Vectors are checked as they are read.)
void require_finite_model(const FolderWeights& source, const Team& team);

// Names row and group where no scale stands for its weights: in a matrix that is quantized, and in all that
// the plan will quantize. weights: the source, or the same in other coordinates.
void require_scales(const QuantizedMatrix& quantized, const TensorView& tensor);
void require_scales(const FolderWeights& source, const WeightSource& weights, const QuantizationPlan& plan,
                    const Team& team);

}  // namespace whittle
