// AVX-512 with VNNI and VBMI2: masked panels, too, at the speed of memory.

#include <immintrin.h>

#include <xsimd/xsimd.hpp>

#include "kernels/kernel_table.h"
#include "kernels/sparse_weight.h"

namespace whittle {
namespace {

#include "kernels/isa/vector_avx512.inl"
#include "kernels/isa/vnni.inl"
#include "kernels/isa/narrow_codes.inl"
#include "kernels/isa/dot_row.inl"
#include "kernels/isa/masked.inl"
#include "kernels/isa/sparse.inl"
#include "kernels/isa/sparse_tile.inl"
#include "kernels/isa/elementwise.inl"
#include "kernels/isa/attention.inl"
#include "kernels/isa/matmul_quantized.inl"
#include "kernels/isa/matmul_float.inl"

}  // namespace

extern const KernelTable avx512_vbmi2_kernels;
constinit const KernelTable avx512_vbmi2_kernels = {
    .name = "avx512_vbmi2",
    .int8_instruction = "vpdpbusd (512 bits)",
    .exact_u8s8 = true,
    .reads_masks = true,
#include "kernels/isa/table.inl"
};

}  // namespace whittle
