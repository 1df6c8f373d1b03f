#pragma once
// Masks of a bit an element, as sparse matrices have them: rows of whole bytes, the first column in the
// lowest bit of the first one.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/files/safetensors.h"
#include "kernels/threads.h"

namespace whittle {

inline int64_t mask_row_bytes(int64_t cols) { return (cols + 7) / 8; }

// visit(column) for every column that is marked, from the first on.
template <class Visit>
void for_each_marked(const std::byte* row, int64_t cols, Visit visit) {
  for (int64_t i = 0; i < mask_row_bytes(cols); ++i)
    for (auto left = static_cast<unsigned>(row[i]); left; left &= left - 1)
      visit(i * 8 + std::countr_zero(left));
}

// How many each row marks.
std::vector<int64_t> count_marked(const std::byte* mask, int64_t rows, int64_t cols, const Team* team);
// The mask of a file: U8 [rows, mask_row_bytes(cols)]. Throws Error for another type or shape, and for a bit
// behind the last column.
const TensorView& checked_mask(const TensorView& mask, int64_t rows, int64_t cols);

inline void mark(std::byte* row, int64_t col) { row[col / 8] |= static_cast<std::byte>(1u << (col % 8)); }

// For each row how much all before it have; behind the last one: how much all have.
std::vector<int64_t> sums_before(const std::vector<int64_t>& of_rows);

}  // namespace whittle
