#pragma once
// The quantized matrix product that an engine calls: the instruction set's own kernel, or oneDNN's where that
// is faster. Both give the same bits.

#include "kernels/kernel_table.h"

namespace whittle {

// KernelTable::matmul_quantized of kernels(). Called by each thread of a team for panels of its own.
void matmul(const PackedWeight& w, const QuantizedRows& x, Range panels, MatmulOutput y);

// To be called before threads multiply this many rows for the first time, quantized in groups of
// `group_size` inputs: what takes long to make is then there.
void prepare_matmul(const PackedWeight& w, int64_t rows, int64_t group_size);

}  // namespace whittle
