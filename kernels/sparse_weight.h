#pragma once
// Weights of which many codes are zero: panels (packed_weight.h) that keep the other codes and their places.
//
// What is sparse packing? One row of x takes as long as its weights take to come from memory. Codes that are
// zero need not come. Three ways to leave them out, of int8 and, for the first two, of int4, without zero
// points:
//
//   2:4, 4:8   Of every 4 inputs at most 2 have codes other than zero, or of every 8 at most 4. So of 8
//              inputs of a row four *slots* are kept; kernels gather the inputs of x that belong to them, and
//              multiply as if the row were half as long. In 2:4 slots 0 and 1 are of the first 4 inputs, 2
//              and 3 of the others. Slots left over hold zero. Sixteen inputs of 64 rows are a step:
//
//     places   of the first 8 inputs, then of the next 8, 64 bytes each, 16 for 16 rows: the low two bits of
//              the place of slot s of row r among its 4 or 8 inputs are bits 2·(r / 4) and on of byte
//              4·(r % 4) + s. (Repeated four times in a register of 16 dwords, and shifted right by 0, 2, 4
//              or 6, each dword holds what is its own row's.)
//     uppers   4:8 only, twice 32 bytes, 8 for 16 rows: the third bit is bit r / 2 of byte 4·(r % 2) + s
//     codes    int8 twice 256 bytes, as four inputs lie in a dense panel; int4 256 bytes, the first 8 inputs
//              in the low nibbles, the next 8 in the high ones
//
//   masked     Anywhere. A block of 8 inputs has 8 lines of a dense panel (four inputs of 16 rows each):
//              first 64 bits for each line, from the lowest on one for each code that is not zero, then these
//              codes.
//
// Bits a weight at half of the codes: int8 5, 5.5 and 5; int4 3 and 3.5. Everything else (groups, scales,
// order of panels) is as in dense panels, and products are the same bits. Several rows of x share the work of
// finding places (isa/sparse_tile.inl); masked panels, and int4's for many rows, are made dense in cache.

#include <string_view>

#include "kernels/packed_weight.h"

namespace whittle {

std::string_view name(Packing packing);  // "dense", "2:4", "4:8", "masked"

// How many of a weight's codes are zero, and where.
struct CodeSparsity {
  bool two_of_four = true, four_of_eight = true;  // whether all of its codes fit
  int64_t kept = 0, codes = 0;                    // codes that are not zero, of how many
  double density() const { return codes ? static_cast<double>(kept) / static_cast<double>(codes) : 0; }
};
// Of int8 and int4, by all threads of `team`.
CodeSparsity sparsity_of(const WeightMatrix& weight, const Team* team);

// Whether the format, zero points and groups of `weight` allow `packing`; its codes are not looked at.
bool sparse_packable(const WeightMatrix& weight, Packing packing);

// Inputs that are packed, or made dense, at once. Where a row has one scale, but x has scales in groups that
// are no multiple of this, panels are made dense for a single row, too.
inline constexpr int64_t sparse_block = 64;

// What Packer and kernels are made of. `inputs` are those of a group, or of a part of it that begins at a
// multiple of 16 in it; `codes` and `dense` are theirs, of a panel.

// Twice the bits an input takes; 0 where that depends on the codes.
int sparse_half_bits(WeightFormat format, Packing packing);
// Returns the end of what it wrote. At most sparse_block inputs. Throws Error where the codes do not fit.
std::byte* pack_sparse(WeightFormat format, Packing packing, const std::byte* dense, int64_t inputs,
                       std::byte* codes);
// The codes of row r, to out[inputs]. Returns the end of those of all rows, as expand_codes does.
const std::byte* sparse_row(WeightFormat format, Packing packing, const std::byte* codes, int64_t inputs,
                            int64_t r, int8_t* out);
// All rows, as a dense panel has them.
const std::byte* expand_codes(WeightFormat format, Packing packing, const std::byte* codes, int64_t inputs,
                              std::byte* dense);

}  // namespace whittle
