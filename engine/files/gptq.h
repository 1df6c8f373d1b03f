#pragma once
// Quantized linears as AutoGPTQ and GPTQModel write them (quant_method "gptq").
//
// N outputs, K inputs, groups of g inputs, G = ceil(K / g); b = 4 or 8 bits, c = 32 / b codes to a word, the
// first in the lowest bits. w[n, k] = (code − zero point) · scale, codes and zero points from 0 to 2^b − 1.
//   qweight  I32 [K / c, N]  packed along the inputs
//   qzeros   I32 [G, N / c]  packed along the outputs; in checkpoint_format "gptq" less one, in "gptq_v2" as
//                            they are
//   scales   F16 [G, N]      (or BF16, F32)
//   g_idx    I32 [K]         the group of each input: group_index.h
//
// Less one, a zero point of 0 wraps. AutoGPTQ's kernels add the one again within its bits (15 is 0), and so
// do we. GPTQModel subtracts 0x11111111 from whole words, so that a 0 borrows from the next zero point, and
// adds that again: its files are told by `meta`.

#include <cstdint>
#include <string>

#include "engine/files/quantization_config.h"
#include "kernels/threads.h"
#include "kernels/weight_matrix.h"

namespace whittle {

class ModelFile;

// The scheme of every module that has a qweight. Throws Error for what we do not honour: other bits and
// layouts (Marlin, planar), a rotation, modules with a scheme of their own (`dynamic`).
QuantizationTarget read_gptq_config(const JsonFields& fields);

// The matrix of `module`, in memory of its own. Throws Error that names file and tensor for a wrong dtype or
// shape, an infinite or NaN scale, zero points although quantization is symmetric, a g_idx out of range.
WeightMatrix read_gptq(const ModelFile& file, const std::string& module, const QuantizationScheme& scheme,
                       int64_t rows, int64_t cols, const Team* team);

}  // namespace whittle
