#pragma once
// g_idx, the tensor that says to which group of scales an input belongs. GPTQ with act-order quantizes inputs
// in the order of their importance, forms groups in that order, and stores the columns where they were: the
// inputs of a group are then scattered over the row.
//
// Kernels read a group's inputs side by side. Where the groups are whole but stand in another order, their
// scales and zero points are put in theirs. Scattered inputs would have to be gathered for every token, and
// what they come from (the residual stream) is read by others in other orders: such a weight becomes float32,
// the same values in eight times the memory of 4-bit codes.

#include <cstdint>

#include "engine/files/safetensors.h"
#include "kernels/threads.h"
#include "kernels/weight_matrix.h"

namespace whittle {

// Whether the inputs of some group do not lie side by side in rows of `group_size`.
bool is_scattered(const TensorView& index, int64_t group_size);

// `weight`, whose column k belongs to group index[k], as a weight whose groups are in order, or in float32.
// Throws Error unless `index` is I32 [cols], and as many inputs belong to each group as it is large.
WeightMatrix with_groups_in_order(const TensorView& index, WeightMatrix weight, const Team* team);

}  // namespace whittle
