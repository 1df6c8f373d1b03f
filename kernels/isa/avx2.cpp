// AVX2, FMA and F16C: eight lanes. Without VNNI, int8 products are summed through 16-bit halves, which is exact only in
// the two ways used here (vpmaddubsw adds two products and saturates at 32767):
//   |w| · (x with w's sign): 2 · 128 · 127 = 32512 fits;   nibble · x: sixteen products, 16 · 15 · 127 = 30480, fit.

#include <immintrin.h>

#include <xsimd/xsimd.hpp>

#include "kernels/kernel_table.h"

namespace whittle {
namespace {

using Arch = xsimd::fma3<xsimd::avx2>;
#include "kernels/isa/vector_xsimd.inl"

inline float reduce_add(F v) {
  __m128 half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  half = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}
inline float reduce_max(F v) {
  __m128 half = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  half = _mm_max_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}
inline int32_t reduce_add(I v) {
  __m128i half = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(half, _mm_shuffle_epi32(half, 0xb1)));
}
inline I round_to_int(F v) { return _mm256_cvtps_epi32(v); }
inline F load_f16(const uint16_t* p) { return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
inline F load_bf16(const uint16_t* p) {
  const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
inline I load_int8_as_int(const int8_t* p) {
  return _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}
inline F load_int8(const int8_t* p) { return _mm256_cvtepi32_ps(load_int8_as_int(p)); }
inline void store_int8(int8_t* p, I v) {
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(words, words));
}
#include "kernels/isa/narrow_f16c.inl"

// What maddubs.inl needs of 256-bit integer registers.
using Bytes = __m256i;
inline Bytes load_bytes(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline void store_bytes(void* p, Bytes v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }
inline Bytes splat_dword(const void* p) { return _mm256_set1_epi32(*static_cast<const int32_t*>(p)); }
inline Bytes low_nibbles(Bytes v) { return _mm256_and_si256(v, _mm256_set1_epi8(15)); }
inline Bytes high_nibbles(Bytes v) { return low_nibbles(_mm256_srli_epi16(v, 4)); }
// words + u · s and sum + a · b, in pairs. gcc 12 reorders the intrinsics until the sums no longer fit into its registers.
inline Bytes multiply_add_words(Bytes words, Bytes u, Bytes s) {
  Bytes product;
  asm("vpmaddubsw %3, %2, %1\n\tvpaddw %1, %0, %0" : "+x"(words), "=&x"(product) : "x"(u), "x"(s));
  return words;
}
inline Bytes multiply_add_dwords(Bytes sum, Bytes a, Bytes b) {
  Bytes product;
  asm("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0" : "+x"(sum), "=&x"(product) : "x"(a), "x"(b));
  return sum;
}
inline Bytes multiply_signed_signed(Bytes w, Bytes x) {
  return _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
}
inline I add_pairs(I sum, Bytes words) { return I(_mm256_add_epi32(sum, _mm256_madd_epi16(words, _mm256_set1_epi16(1)))); }
// Eight rows of four codes to 16 bits: the rows' inputs 0 and 1, and the rows' inputs 2 and 3.
inline void widen(Bytes codes, int16_t* first, int16_t* second) {
  const __m256 low = _mm256_castsi256_ps(_mm256_cvtepi8_epi16(_mm256_castsi256_si128(codes)));
  const __m256 high = _mm256_castsi256_ps(_mm256_cvtepi8_epi16(_mm256_extracti128_si256(codes, 1)));
  const __m256i even = _mm256_castps_si256(_mm256_shuffle_ps(low, high, 0x88));
  const __m256i odd = _mm256_castps_si256(_mm256_shuffle_ps(low, high, 0xdd));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(first), _mm256_permute4x64_epi64(even, 0xd8));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(second), _mm256_permute4x64_epi64(odd, 0xd8));
}
inline void widen_inputs(const int8_t* codes, int16_t* words) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(words),
                      _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes))));
}
constexpr int gemm_vectors = 2;

#include "kernels/isa/blocking.inl"
#include "kernels/isa/maddubs.inl"
#include "kernels/isa/elementwise.inl"
#include "kernels/isa/attention.inl"
#include "kernels/isa/matmul.inl"

}  // namespace

extern const KernelTable avx2_kernels;
constinit const KernelTable avx2_kernels = {
    .name = "avx2",
    .int8_instruction = "vpmaddubsw, vpmaddwd",
#include "kernels/isa/table.inl"
};

}  // namespace whittle
