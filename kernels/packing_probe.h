#pragma once
// Whether a sparse packing is faster than the dense one on this machine, as it is now.

#include "kernels/sparse_weight.h"

namespace whittle {

// How many times as fast one row of x, quantized in groups of `activation_group_size` inputs (0: all of
// them), meets a weight like `matrix` packed as `packing` as it meets the dense one. The first rows of the
// matrix are repeated until they fill `dense_bytes` of dense panels, which all threads of `team` then read in
// turns with the sparse ones. For 64 MiB that takes some 0.1 s. Throws Error where `packing` does not fit the
// matrix.
double probe_packing(const WeightMatrix& matrix, Packing packing, int64_t activation_group_size,
                     int64_t dense_bytes, const Team& team);

}  // namespace whittle
