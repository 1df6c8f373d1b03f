#pragma once
// Many rows times an INT8 weight through oneDNN, which reads our panels in place (packed_weight.h).

#include "kernels/kernel_table.h"

namespace whittle {

// oneDNN knows int8 weights with one scale a row, and activations with one scale a token.
bool onednn_accepts(const PackedWeight& w, const QuantizedRows& x);

// The same bits as matmul_quantized wherever oneDNN sums u8 · s8 exactly: on CPUs with VNNI, or when no two
// neighbouring products leave 16 bits. Runs on the calling thread alone.
void onednn_matmul(const PackedWeight& w, const QuantizedRows& x, Range panels, MatmulOutput y);

// oneDNN's primitives are made when they are first needed and kept for the process, which all threads share:
// at most so many for each width (padded_cols) among the weights, however rows and panels are cut.
inline constexpr int64_t onednn_shapes = 40;
int64_t onednn_primitives();

}  // namespace whittle
