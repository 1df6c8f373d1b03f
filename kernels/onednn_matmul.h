#pragma once
// Many rows times an INT8 weight through oneDNN, which reads our dense panels in place (packed_weight.h), and
// masked ones made dense in cache.

#include "kernels/kernel_table.h"

namespace whittle {

// oneDNN knows int8 weights with one scale a row, and activations with one scale a token.
bool onednn_accepts(const PackedWeight& w, const QuantizedRows& x);

// The same bits as matmul_quantized wherever oneDNN sums u8 · s8 exactly: on CPUs with VNNI, or when no two
// neighbouring products leave 16 bits. Runs on the calling thread alone.
void onednn_matmul(const PackedWeight& w, const QuantizedRows& x, Range panels, MatmulOutput y);

// Makes what onednn_matmul needs for this many rows, however panels are cut; else it is made when it is first
// needed, which takes about a millisecond each.
void onednn_prepare(const PackedWeight& w, int64_t rows);

// oneDNN's primitives are kept for the process, and all threads share them: at most so many for each width
// (padded_cols) among the weights, however rows and panels are cut.
inline constexpr int64_t onednn_shapes = 40;
int64_t onednn_primitives();

}  // namespace whittle
