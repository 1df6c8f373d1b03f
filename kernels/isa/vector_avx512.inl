// Sixteen lanes: what both AVX-512 instruction sets share. Included inside an anonymous namespace.

using Arch = xsimd::avx512bw;
#include "kernels/isa/vector_xsimd.inl"

inline F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
inline float reduce_add(F v) {
  const __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1));
  const __m256 sum = _mm256_add_ps(_mm512_castps512_ps256(v), high);
  __m128 half = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps(sum, 1));
  half = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}
inline float reduce_max(F v) {
  const __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1));
  const __m256 top = _mm256_max_ps(_mm512_castps512_ps256(v), high);
  __m128 half = _mm_max_ps(_mm256_castps256_ps128(top), _mm256_extractf128_ps(top, 1));
  half = _mm_max_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}
inline int32_t reduce_add(I v) {
  const __m256i sum = _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
  __m128i half = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
  half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(half, _mm_shuffle_epi32(half, 0xb1)));
}
inline F load_f16(const uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline F load_bf16(const uint16_t* p) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
inline I load_int8_as_int(const int8_t* p) {
  return _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline F load_int8(const int8_t* p) { return _mm512_cvtepi32_ps(load_int8_as_int(p)); }
inline void store_int8(int8_t* p, I v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(v));
}
#include "kernels/isa/narrow_f16c.inl"

using Bytes = __m512i;
inline Bytes load_bytes(const void* p) { return _mm512_loadu_si512(p); }
inline Bytes splat_dword(const void* p) { return _mm512_set1_epi32(*static_cast<const int32_t*>(p)); }
inline void store_bytes(void* p, Bytes v) { _mm512_storeu_si512(p, v); }
template <class Bits>
inline Bits select_bits(Bits mask, Bits a, Bits b) {
  return Bits(_mm512_ternarylogic_epi32(Bytes(mask), Bytes(a), Bytes(b), 0xca));
}
inline Bytes low_nibbles(Bytes v) { return _mm512_and_si512(v, _mm512_set1_epi8(15)); }
inline Bytes high_nibbles(Bytes v) { return low_nibbles(_mm512_srli_epi16(v, 4)); }
inline Bytes minus_eights(Bytes v) { return _mm512_sub_epi8(v, _mm512_set1_epi8(8)); }

// What sparse.inl needs, of the sixteen rows whose places lie together.
inline Bytes splat_qword(const void* p) { return _mm512_set1_epi64(*static_cast<const int64_t*>(p)); }
inline Bytes shifted_places(const std::byte* places) {
  const __m512i shifts = _mm512_setr_epi32(0, 0, 0, 0, 2, 2, 2, 2, 4, 4, 4, 4, 6, 6, 6, 6);
  return _mm512_srlv_epi32(_mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(places))),
                           shifts);
}
inline Bytes places_2_4(const std::byte* places, int) {
  return _mm512_ternarylogic_epi32(shifted_places(places), _mm512_set1_epi8(3), _mm512_set1_epi32(0x04040000),
                                   0xea);  // a & b | c
}
inline Bytes places_4_8(const std::byte* places, const std::byte* uppers, int) {
  const __m512i bits = _mm512_setr_epi32(
      0x01010101, 0x01010101, 0x02020202, 0x02020202, 0x04040404, 0x04040404, 0x08080808, 0x08080808,
      0x10101010, 0x10101010, 0x20202020, 0x20202020, 0x40404040, 0x40404040, -0x7f7f7f80, -0x7f7f7f80);
  const __m512i low = shifted_places(places) & _mm512_set1_epi8(3);
  return _mm512_mask_add_epi8(low, _mm512_test_epi8_mask(splat_qword(uppers), bits), low,
                              _mm512_set1_epi8(4));
}
inline Bytes pick(Bytes eight, Bytes places) { return _mm512_shuffle_epi8(eight, places); }
inline Bytes keep_equal(Bytes a, Bytes b, Bytes codes) {
  return _mm512_maskz_mov_epi8(_mm512_cmpeq_epi8_mask(a, b), codes);
}
template <int slot>
inline Bytes repeat_slot(Bytes slots) {
  return _mm512_shuffle_epi8(slots,
                             _mm512_set4_epi32(0x0c0c0c0c + slot * 0x01010101, 0x08080808 + slot * 0x01010101,
                                               0x04040404 + slot * 0x01010101, slot * 0x01010101));
}
template <int first>
inline Bytes slot_numbers() {
  return _mm512_set1_epi32(0x03020100 + first * 0x01010101);
}
// Register tiles of rows of x by registers of rows of the weight: what 32 registers hold.
constexpr int float_tile = 6, float_vectors = 4;
