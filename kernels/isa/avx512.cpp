// AVX-512 without VNNI: sixteen lanes, int8 products summed through 16-bit halves as in avx2.cpp.

#include <immintrin.h>

#include <xsimd/xsimd.hpp>

#include "kernels/kernel_table.h"

namespace whittle {
namespace {

#include "kernels/isa/vector_avx512.inl"

inline Bytes multiply_add_words(Bytes words, Bytes u, Bytes s) {
  return _mm512_add_epi16(words, _mm512_maddubs_epi16(u, s));
}
inline Bytes multiply_signed_signed(Bytes w, Bytes x) {
  const Bytes signed_x = _mm512_mask_sub_epi8(x, _mm512_movepi8_mask(w), _mm512_setzero_si512(), x);
  return _mm512_maddubs_epi16(_mm512_abs_epi8(w), signed_x);
}
inline I add_pairs(I sum, Bytes words) { return I(_mm512_add_epi32(sum, _mm512_madd_epi16(words, _mm512_set1_epi16(1)))); }
inline Bytes multiply_add_dwords(Bytes sum, Bytes a, Bytes b) { return _mm512_add_epi32(sum, _mm512_madd_epi16(a, b)); }
// Sixteen rows of four codes to 16 bits: the rows' inputs 0 and 1, and the rows' inputs 2 and 3.
inline void widen(Bytes codes, int16_t* first, int16_t* second) {
  const Bytes low = _mm512_cvtepi8_epi16(_mm512_castsi512_si256(codes));
  const Bytes high = _mm512_cvtepi8_epi16(_mm512_extracti64x4_epi64(codes, 1));
  const Bytes even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const Bytes odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
  _mm512_storeu_si512(first, _mm512_permutex2var_epi32(low, even, high));
  _mm512_storeu_si512(second, _mm512_permutex2var_epi32(low, odd, high));
}
inline void widen_inputs(const int8_t* codes, int16_t* words) {
  _mm512_storeu_si512(words, _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes))));
}

#include "kernels/isa/blocking.inl"
#include "kernels/isa/maddubs.inl"
#include "kernels/isa/elementwise.inl"
#include "kernels/isa/attention.inl"
#include "kernels/isa/matmul.inl"

}  // namespace

extern const KernelTable avx512_kernels;
constinit const KernelTable avx512_kernels = {
    .name = "avx512",
    .int8_instruction = "vpmaddubsw, vpmaddwd (512 bits)",
#include "kernels/isa/table.inl"
};

}  // namespace whittle
