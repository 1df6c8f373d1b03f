#pragma once
// Packing moves units: the bytes of one row in one step of inputs. The table in packed_units.cpp says where
// they go in a panel (packed_weight.h has the picture).

#include <cstddef>
#include <cstdint>

#include "kernels/weight_format.h"

namespace whittle {

struct PackedUnits {
  int64_t inputs;  // of one row in a unit
  int64_t bytes;   // as stored; in a panel the same
  // The first `units` whole units of `rows` rows, `stride` bytes apart, to their places in a group's codes.
  void (*interleave)(const std::byte* source, int64_t stride, int64_t rows, int64_t units, std::byte* codes);
  // Input k of row r (0..63) of the group whose codes these are.
  float (*code)(const std::byte* codes, int64_t r, int64_t k);
};

inline constexpr int64_t most_unit_inputs = 32, most_unit_bytes = 20;
const PackedUnits& packed_units(WeightFormat format);

}  // namespace whittle
