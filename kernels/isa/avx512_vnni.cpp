// AVX-512 with VNNI: vpdpbusd sums four products of an unsigned and a signed byte into 32 bits, exactly. The codes take
// the unsigned side, shifted by 128; the shift leaves again through the activations' sums (matmul.inl: `offset`).

#include <immintrin.h>

#include <xsimd/xsimd.hpp>

#include "kernels/kernel_table.h"

namespace whittle {
namespace {

#include "kernels/isa/vector_avx512.inl"
#include "kernels/isa/blocking.inl"

inline Bytes flip_signs(Bytes codes) { return _mm512_xor_si512(codes, _mm512_set1_epi8(-128)); }

struct Gemv {
  static constexpr int32_t int8_offset = 128, int4_offset = 8;
  static constexpr int vectors = static_cast<int>(panel_rows) / lanes;

  static void dot_int8(const std::byte* codes, const int8_t* x, int64_t cols, I (&sums)[vectors]) {
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) sums[v] = zero_int();
    for (int64_t k = 0; k < cols; k += 4, codes += 256) {
      prefetch_stream<256>(codes);
      const Bytes input = splat_dword(x + k);
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v)
        sums[v] = _mm512_dpbusd_epi32(sums[v], flip_signs(load_bytes(codes + v * 64)), input);
    }
  }

  static void dot_int4(const std::byte* codes, const int8_t* x, int64_t cols, I (&sums)[vectors]) {
    I high_sums[vectors];
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) sums[v] = high_sums[v] = zero_int();
    for (int64_t k = 0; k < cols; k += 8, codes += 256) {
      prefetch_stream<256>(codes);
      const Bytes low = splat_dword(x + k), high = splat_dword(x + k + 4);
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) {
        const Bytes line = load_bytes(codes + v * 64);
        sums[v] = _mm512_dpbusd_epi32(sums[v], low_nibbles(line), low);
        high_sums[v] = _mm512_dpbusd_epi32(high_sums[v], high_nibbles(line), high);
      }
    }
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) sums[v] = sums[v] + high_sums[v];
  }
};

struct Gemm {
  using Weight = uint8_t;
  using Input = int8_t;
  using Line = Bytes;
  using Sum = I;
  static constexpr int step = 4;
  static constexpr int vectors = gemm_vectors;
  static constexpr int64_t narrow_steps = 0;
  static constexpr int32_t offset = 128;

  static Bytes load_line(const uint8_t* p) { return load_bytes(p); }
  static Bytes broadcast(const int8_t* p) { return splat_dword(p); }
  static I zero() { return zero_int(); }
  static I dot(I sum, Bytes weights, Bytes input) { return _mm512_dpbusd_epi32(sum, weights, input); }
  static I collect(I sum, I products) { return sum + products; }

  // The codes of `cols` inputs of a panel to columns [at, at + cols) of a block, [block_cols / 4][64][4].
  static void unpack(WeightFormat format, const std::byte* codes, int64_t cols, uint8_t* block, int64_t at) {
    uint8_t* out = block + at * panel_rows;
    if (format == WeightFormat::int8) {
      for (int64_t i = 0; i < cols * panel_rows; i += 64) _mm512_storeu_si512(out + i, flip_signs(load_bytes(codes + i)));
    } else {
      const Bytes shift = _mm512_set1_epi8(128 - 8);
      for (int64_t k = 0; k < cols; k += 8, codes += 256, out += 512)
        for (int64_t i = 0; i < 256; i += 64) {
          const Bytes nibbles = load_bytes(codes + i);
          _mm512_storeu_si512(out + i, _mm512_add_epi8(low_nibbles(nibbles), shift));
          _mm512_storeu_si512(out + 256 + i, _mm512_add_epi8(high_nibbles(nibbles), shift));
        }
    }
  }

  static void load_inputs(const int8_t* codes, int64_t cols, int8_t* inputs) {
    for (int64_t k = 0; k < cols; k += 64) _mm512_storeu_si512(inputs + k, load_bytes(codes + k));
  }
};
using GemmInt4 = Gemm;

#include "kernels/isa/elementwise.inl"
#include "kernels/isa/attention.inl"
#include "kernels/isa/matmul.inl"

}  // namespace

extern const KernelTable avx512_vnni_kernels;
constinit const KernelTable avx512_vnni_kernels = {
    .name = "avx512_vnni",
    .int8_instruction = "vpdpbusd (512 bits)",
#include "kernels/isa/table.inl"
};

}  // namespace whittle
