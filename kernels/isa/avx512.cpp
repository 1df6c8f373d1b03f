// AVX-512 without VNNI: sixteen lanes, int8 products as in maddubs.inl.

#include <immintrin.h>

#include <xsimd/xsimd.hpp>

#include "kernels/kernel_table.h"
#include "kernels/sparse_weight.h"

namespace whittle {
namespace {

#include "kernels/isa/vector_avx512.inl"

inline Bytes with_signs_of(Bytes w, Bytes x) {
  return _mm512_mask_sub_epi8(x, _mm512_movepi8_mask(w), _mm512_setzero_si512(), x);
}
inline Bytes magnitudes_of(Bytes v) { return _mm512_abs_epi8(v); }
inline Bytes multiply_words(Bytes u, Bytes s) { return _mm512_maddubs_epi16(u, s); }
inline Bytes multiply_add_words(Bytes words, Bytes u, Bytes s) {
  return _mm512_add_epi16(words, multiply_words(u, s));
}
inline Bytes multiply_add_nibbles(Bytes words, Bytes line, Bytes low, Bytes high) {
  return multiply_add_words(multiply_add_words(words, low_nibbles(line), low), high_nibbles(line), high);
}
inline Bytes multiply_add_signed(Bytes sum, const std::byte* w, Bytes magnitudes, Bytes x) {
  const Bytes signed_x = with_signs_of(load_bytes(w), x);
  return _mm512_add_epi32(
      sum, _mm512_madd_epi16(_mm512_maddubs_epi16(magnitudes, signed_x), _mm512_set1_epi16(1)));
}
inline Bytes multiply_add_unsigned(Bytes sum, Bytes u, Bytes s) {
  return _mm512_add_epi32(sum, _mm512_madd_epi16(multiply_words(u, s), _mm512_set1_epi16(1)));
}
inline Bytes multiply_add_unsigned_at(Bytes sum, Bytes u, const int8_t* s) {
  return multiply_add_unsigned(sum, u, splat_dword(s));
}
inline Bytes subtract_eights(Bytes words, Bytes low, Bytes high) {
  const Bytes eights = _mm512_set1_epi8(8);
  return _mm512_sub_epi16(_mm512_sub_epi16(words, multiply_words(eights, low)), multiply_words(eights, high));
}
inline I add_pairs(I sum, Bytes words) {
  return I(_mm512_add_epi32(sum, _mm512_madd_epi16(words, _mm512_set1_epi16(1))));
}

constexpr int int8_tile = 6, int8_vectors = 2, int4_tile = 6, int4_vectors = 4;

// As for AVX2, not measured.
constexpr int64_t prefetch_distance = 1024, nibbles_prefetch_distance = 2048;

#include "kernels/isa/blocking.inl"
#include "kernels/isa/maddubs.inl"
#include "kernels/isa/narrow_codes.inl"
#include "kernels/isa/dot_row.inl"
#include "kernels/isa/sparse_expanded.inl"
#include "kernels/isa/sparse.inl"
#include "kernels/isa/sparse_tile.inl"
#include "kernels/isa/elementwise.inl"
#include "kernels/isa/attention.inl"
#include "kernels/isa/matmul_quantized.inl"
#include "kernels/isa/matmul_float.inl"

}  // namespace

extern const KernelTable avx512_kernels;
constinit const KernelTable avx512_kernels = {
    .name = "avx512",
    .int8_instruction = "vpmaddubsw, vpmaddwd (512 bits)",
    .exact_u8s8 = false,
    .reads_masks = false,
#include "kernels/isa/table.inl"
};

}  // namespace whittle
