// AVX2, FMA and F16C: eight lanes, int8 products as in maddubs.inl.

#include <immintrin.h>

#include <xsimd/xsimd.hpp>

#include "kernels/kernel_table.h"
#include "kernels/sparse_weight.h"

namespace whittle {
namespace {

using Arch = xsimd::fma3<xsimd::avx2>;
#include "kernels/isa/vector_xsimd.inl"

inline F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
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
inline F load_f16(const uint16_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
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

// What maddubs.inl and narrow_codes.inl need of 256-bit integer registers.
using Bytes = __m256i;
inline Bytes load_bytes(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline Bytes splat_dword(const void* p) { return _mm256_set1_epi32(*static_cast<const int32_t*>(p)); }
inline void store_bytes(void* p, Bytes v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }
template <class Bits>
inline Bits select_bits(Bits mask, Bits a, Bits b) {
  return (a & mask) | (b & ~mask);
}
inline Bytes low_nibbles(Bytes v) { return _mm256_and_si256(v, _mm256_set1_epi8(15)); }
inline Bytes high_nibbles(Bytes v) { return low_nibbles(_mm256_srli_epi16(v, 4)); }
inline Bytes minus_eights(Bytes v) { return _mm256_sub_epi8(v, _mm256_set1_epi8(8)); }
inline Bytes with_signs_of(Bytes w, Bytes x) { return _mm256_sign_epi8(x, w); }
inline Bytes magnitudes_of(Bytes v) { return _mm256_abs_epi8(v); }
// gcc 12 reorders intrinsics until the sums no longer fit into its registers: what stands in an inner loop is
// one block. u · s, in pairs, and words + u · s.
inline Bytes multiply_words(Bytes u, Bytes s) { return _mm256_maddubs_epi16(u, s); }
inline Bytes multiply_add_words(Bytes words, Bytes u, Bytes s) {
  Bytes product;
  asm("vpmaddubsw %3, %2, %1\n\tvpaddw %1, %0, %0" : "+x"(words), "=&x"(product) : "x"(u), "x"(s));
  return words;
}
// words + low nibbles · low + high nibbles · high, in pairs.
inline Bytes multiply_add_nibbles(Bytes words, Bytes line, Bytes low, Bytes high) {
  Bytes nibbles;
  asm("vpand %5, %2, %1\n\tvpmaddubsw %3, %1, %1\n\tvpaddw %1, %0, %0\n\t"
      "vpsrlw $4, %2, %1\n\tvpand %5, %1, %1\n\tvpmaddubsw %4, %1, %1\n\tvpaddw %1, %0, %0"
      : "+x"(words), "=&x"(nibbles)
      : "x"(line), "x"(low), "x"(high), "x"(_mm256_set1_epi8(15)));
  return words;
}
// sum + w · x, in fours. The codes stay in L1: registers are for sums.
inline Bytes multiply_add_signed(Bytes sum, const std::byte* w, Bytes magnitudes, Bytes x) {
  Bytes product;
  asm("vpsignb %2, %4, %1\n\tvpmaddubsw %1, %3, %1\n\tvpmaddwd %5, %1, %1\n\tvpaddd %1, %0, %0"
      : "+x"(sum), "=&x"(product)
      : "m"(*reinterpret_cast<const __m256i_u*>(w)), "x"(magnitudes), "x"(x), "x"(_mm256_set1_epi16(1)));
  return sum;
}
// sum + u · s, in fours.
inline Bytes multiply_add_unsigned(Bytes sum, Bytes u, Bytes s) {
  Bytes product;
  asm("vpmaddubsw %3, %2, %1\n\tvpmaddwd %4, %1, %1\n\tvpaddd %1, %0, %0"
      : "+x"(sum), "=&x"(product)
      : "x"(u), "x"(s), "x"(_mm256_set1_epi16(1)));
  return sum;
}
// The same with the four inputs at s: registers are for sums.
inline Bytes multiply_add_unsigned_at(Bytes sum, Bytes u, const int8_t* s) {
  Bytes product;
  asm("vpbroadcastd %3, %1\n\tvpmaddubsw %1, %2, %1\n\tvpmaddwd %4, %1, %1\n\tvpaddd %1, %0, %0"
      : "+x"(sum), "=&x"(product)
      : "x"(u), "m"(*reinterpret_cast<const int32_t*>(s)), "x"(_mm256_set1_epi16(1)));
  return sum;
}
// words − 8 · (low + high), in pairs.
inline Bytes subtract_eights(Bytes words, Bytes low, Bytes high) {
  Bytes eights;
  asm("vpmaddubsw %2, %4, %1\n\tvpsubw %1, %0, %0\n\tvpmaddubsw %3, %4, %1\n\tvpsubw %1, %0, %0"
      : "+x"(words), "=&x"(eights)
      : "x"(low), "x"(high), "x"(_mm256_set1_epi8(8)));
  return words;
}
inline I add_pairs(I sum, Bytes words) {
  return I(_mm256_add_epi32(sum, _mm256_madd_epi16(words, _mm256_set1_epi16(1))));
}

// What sparse.inl needs, of eight of the sixteen rows whose places lie together.
inline Bytes splat_qword(const void* p) { return _mm256_set1_epi64x(*static_cast<const int64_t*>(p)); }
inline Bytes low_places(const std::byte* places, int part) {
  const __m256i shifts =
      part ? _mm256_setr_epi32(4, 4, 4, 4, 6, 6, 6, 6) : _mm256_setr_epi32(0, 0, 0, 0, 2, 2, 2, 2);
  const __m256i all = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(places)));
  return _mm256_srlv_epi32(all, shifts) & _mm256_set1_epi8(3);
}
inline Bytes places_2_4(const std::byte* places, int part) {
  return low_places(places, part) | _mm256_set1_epi32(0x04040000);
}
inline Bytes places_4_8(const std::byte* places, const std::byte* uppers, int part) {
  const __m256i bits =
      part ? _mm256_setr_epi32(0x10101010, 0x10101010, 0x20202020, 0x20202020, 0x40404040, 0x40404040,
                               static_cast<int>(0x80808080), static_cast<int>(0x80808080))
           : _mm256_setr_epi32(0x01010101, 0x01010101, 0x02020202, 0x02020202, 0x04040404, 0x04040404,
                               0x08080808, 0x08080808);
  const __m256i upper = _mm256_cmpeq_epi8(splat_qword(uppers) & bits, bits);
  return low_places(places, part) | (upper & _mm256_set1_epi8(4));
}
inline Bytes pick(Bytes eight, Bytes places) { return _mm256_shuffle_epi8(eight, places); }
inline Bytes keep_equal(Bytes a, Bytes b, Bytes codes) { return _mm256_cmpeq_epi8(a, b) & codes; }
template <int slot>
inline Bytes repeat_slot(Bytes slots) {
  constexpr int first = slot * 0x01010101;
  return _mm256_shuffle_epi8(
      slots, _mm256_setr_epi32(first, first + 0x04040404, first + 0x08080808, first + 0x0c0c0c0c, first,
                               first + 0x04040404, first + 0x08080808, first + 0x0c0c0c0c));
}
template <int first>
inline Bytes slot_numbers() {
  return _mm256_set1_epi32(0x03020100 + first * 0x01010101);
}

// Register tiles of rows of x by registers of rows of the weight: what sixteen registers hold.
constexpr int int8_tile = 5, int8_vectors = 2, int4_tile = 6, int4_vectors = 2, float_tile = 6,
              float_vectors = 2;

// Found by measurement: on Zen 3, whose prefetcher stops at every 4 KB page, half or twice as far costs 6 to
// 15 %; nibbles gain 4 to 9 % from twice as far as bytes and halves.
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

extern const KernelTable avx2_kernels;
constinit const KernelTable avx2_kernels = {
    .name = "avx2",
    .int8_instruction = "vpmaddubsw, vpmaddwd",
    .exact_u8s8 = false,
    .reads_masks = false,
#include "kernels/isa/table.inl"
};

}  // namespace whittle
