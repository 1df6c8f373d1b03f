#pragma once
// Matrices of many zeros in the two sparse forms of compressed-tensors, which has them up to version 0.14
// (later ones, and vLLM with them, read neither): floats, and the codes of "int-quantized" without zero
// points.
//
// N rows, K columns; a bit of the mask for each element, as in mask_bits.h. What is not marked is zero.
//   both               bitmask      U8  [N, ceil(K / 8)]
//   sparse-bitmask     compressed       [marked], the type of the elements: those that are marked, row by row
//                      row_offsets  I64 [N], how many rows before have
//                      shape        I64 [2] = N, K
//   sparse-24-bitmask  compressed       [N, K / 2]; of every 4 columns just 2 are marked, zeros where fewer
//                                       are not, so that K is a multiple of 4
//                      shape        I64 [2, 1] = N, K
// They stand for the tensor "weight"; scales stay as they are. `sparsity_config` names the form and the
// modules.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/files/quantization_config.h"
#include "engine/files/safetensors_writer.h"
#include "kernels/threads.h"

namespace whittle {

class ModelFile;

// The elements [rows, cols] of `module`, with those that are not stored. Throws Error that names file and
// tensor for a wrong type or shape, values of `shape` that are not these, a bit behind the last column,
// counts and row offsets that are not those of the mask, and other than 2 of 4 where the form says so.
std::vector<std::byte> read_bitmask(const ModelFile& file, const std::string& module, SparseStorage storage,
                                    DType dtype, int64_t rows, int64_t cols, const Team* team);

// The tensors that write_bitmask() writes, with as many elements as there can be.
std::vector<TensorInfo> bitmask_tensors(const std::string& module, SparseStorage storage, DType dtype,
                                        int64_t rows, int64_t cols);

// Writes them all and returns their bytes. Stored is every element that has a bit: −0, too. Throws Error for
// more than 2 of 4 where the form says so.
int64_t write_bitmask(SafetensorsWriter& writer, const std::string& module, SparseStorage storage,
                      DType dtype, int64_t rows, int64_t cols, std::span<const std::byte> elements,
                      const Team* team);

}  // namespace whittle
