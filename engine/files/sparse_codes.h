#pragma once
// "whittle-bitmask-v1", a layout of our own: codes of which many are their group's zero point, so that they
// stand for zero. compressed-tensors has a sparse form for whole bytes without zero points alone (bitmask.h).
// The format of its config group has this name, so that no other reader takes it for one it knows; what
// changes the layout changes the number.
//
// N rows, K columns, codes of b = 4, 5, 6 or 8 bits:
//   weight_bitmask  U8  [N, ceil(K / 8)], as in mask_bits.h: which codes are stored
//   weight_codes    U8  [bytes], these, row by row: one stream of bits as in compressed_tensors.h (b = 8: as
//                   I8), which begins in a byte of its own in each row; the bits behind its end are 0
//   weight_shape    I64 [3] = N, K, how many codes are stored
// weight_scale and weight_zero_point are those of "pack-quantized" (b = 8: "int-quantized"). A code that is
// not stored is the zero point of its group, 0 where there are none.

#include <cstdint>
#include <string>
#include <vector>

#include "engine/files/safetensors_writer.h"
#include "kernels/threads.h"
#include "kernels/weight_matrix.h"

namespace whittle {

class ModelFile;

// The matrix of `module`, of which all is known but the codes, with codes of its own. Throws Error that names
// file and tensor for a wrong type or shape, values of weight_shape that are not the matrix's, a bit of the
// mask behind the last column, bytes that are not as many as the mask's counts need, and bits behind the end
// of a row.
WeightMatrix read_sparse_codes(const ModelFile& file, const std::string& module, WeightMatrix matrix,
                               const Team* team);

// The tensors that write_sparse_codes() writes, with as many bytes as there can be.
std::vector<TensorInfo> sparse_code_tensors(const std::string& module, WeightFormat format, int64_t rows,
                                            int64_t cols);

// Writes them all and returns their bytes.
int64_t write_sparse_codes(SafetensorsWriter& writer, const std::string& module, const WeightMatrix& matrix,
                           const Team* team);

}  // namespace whittle
