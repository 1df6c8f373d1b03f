#pragma once
// The tensors that hold one quantized module in the compressed-tensors conventions, and the matrix that they
// stand for.
//
// N rows (outputs), K columns (inputs), groups of g inputs; G = ceil(K / g) scales a row, the last group
// shorter where g does not divide K (our extension: other writers refuse that). Codes of b = 4, 5, 6 or 8
// bits, each as code + 2^(b − 1), are packed into one stream of bits, the first in the lowest of the first
// word: with 5 and 6 bits some begin in one 32-bit word and end in the next.
//   int-quantized    weight         I8  [N, K]
//   pack-quantized   weight_packed  I32 [N, ceil(K · b / 32)]
//                    weight_shape   I64 [2] = N, K
//   both             weight_scale   of either sign; F16, BF16 or F32: [1] a matrix, [N, 1] a row, [N, G] a
//                                   group
//   asymmetric       weight_zero_point, shaped like the scales: I8; pack-quantized by row or group packs it
//                                   along the rows: I32 [ceil(N · b / 32), G], zero point + 2^(b − 1)
//   sparse           what stands for weight: bitmask.h; for weight_packed: sparse_codes.h
//   actorder "group" weight_g_idx   I32 [K], the group of each column: group_index.h; all −1: in order

#include <string>
#include <vector>

#include "engine/files/quantization_config.h"
#include "engine/files/safetensors_writer.h"
#include "kernels/threads.h"
#include "kernels/weight_matrix.h"

namespace whittle {

class ModelFile;

// The matrix of `module`, which is [rows, cols] in the model. Codes are borrowed from the file's mapping,
// unless they are packed int8, not all stored, or their columns stand out of order. Throws Error that names
// file and tensor for a wrong dtype or shape, an infinite or NaN scale, a zero point out of range or that
// `scheme` does not have, groups whose size is neither a group_multiple() of the format nor the whole row,
// and a weight_g_idx out of range.
WeightMatrix read_compressed_tensors(const ModelFile& file, const std::string& module,
                                     const QuantizationScheme& scheme, int64_t rows, int64_t cols,
                                     const Team* team);

// The tensors that write_quantized() writes. `scale_dtype` is F32, F16 or BF16; layouts are `native` and
// `bitmask`, and `sparse` is what becomes of the tensor "weight" if there is one.
std::vector<TensorInfo> quantized_tensors(const std::string& module, const QuantizationScheme& scheme,
                                          int64_t rows, int64_t cols, DType scale_dtype,
                                          SparseStorage sparse = SparseStorage::none);

// Writes them all and returns their bytes. Scales must be exact in `scale_dtype`; strategies are `channel`
// and `group`.
int64_t write_quantized(SafetensorsWriter& writer, const std::string& module,
                        const QuantizationScheme& scheme, const WeightMatrix& weight, DType scale_dtype,
                        SparseStorage sparse = SparseStorage::none, const Team* team = nullptr);

}  // namespace whittle
