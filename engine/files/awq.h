#pragma once
// Quantized linears as AutoAWQ writes them (quant_method "awq", version "gemm").
//
// N outputs, K inputs, groups of g inputs, G = K / g; 4 bits, eight codes to a word along the outputs, from
// the lowest bits on in the order 0, 2, 4, 6, 1, 3, 5, 7.
// w[n, k] = (code − zero point) · scale, codes and zero points from 0 to 15.
//   qweight  I32 [K, N / 8]
//   qzeros   I32 [G, N / 8]
//   scales   F16 [G, N]  (or BF16, F32)

#include <cstdint>
#include <string>

#include "engine/files/quantization_config.h"
#include "kernels/threads.h"
#include "kernels/weight_matrix.h"

namespace whittle {

class ModelFile;

// The scheme of every module that has a qweight. Throws Error for what we do not honour: other bits, other
// versions ("gemv", "marlin", …), no zero points.
QuantizationTarget read_awq_config(const JsonFields& fields);

// The matrix of `module`, in memory of its own. Throws Error that names file and tensor for a wrong dtype or
// shape, or an infinite or NaN scale.
WeightMatrix read_awq(const ModelFile& file, const std::string& module, const QuantizationScheme& scheme,
                      int64_t rows, int64_t cols, const Team* team);

}  // namespace whittle
