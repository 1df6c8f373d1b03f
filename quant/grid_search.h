#pragma once
// The grid of each group by what its errors cost together: the scale (and zero point) of which rounding to
// nearest leaves the least (w − ŵ) H_gg (w − ŵ)ᵀ, H_gg the group's block of H. Errors of inputs that go
// together add up or cancel, which no price of each alone tells.

#include "quant/input_statistics.h"
#include "quant/quantized_matrix.h"

namespace whittle {

// Round to nearest: first by round_row with each input's importance, then every group takes of scales from
// half to all of its range, of either sign below eight bits, the one that costs least. No group's cost rises.
// loss: the cost summed over groups. `weights` are finite.
QuantizedMatrix round_by_blocks(const WeightMatrix& weights, const QuantizationScheme& scheme,
                                DType scale_type, const InputStatistics& inputs, const Team& team);

}  // namespace whittle
