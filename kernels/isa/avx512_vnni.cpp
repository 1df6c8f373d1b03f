// AVX-512 with VNNI: vpdpbusd sums four products of an unsigned and a signed byte into 32 bits, exactly. The
// codes take the unsigned side, shifted by 128; the shift leaves again through the activations' sums
// (`offset`).

#include <immintrin.h>

#include <xsimd/xsimd.hpp>

#include "kernels/kernel_table.h"

namespace whittle {
namespace {

#include "kernels/isa/vector_avx512.inl"
// Zen 4 reads one stream best by itself: distances from 256 to 6144 bytes cost one row of x 2 to 36 %.
constexpr int64_t prefetch_distance = 0, nibbles_prefetch_distance = 0;

#include "kernels/isa/blocking.inl"

inline Bytes flip_signs(Bytes codes) { return _mm512_xor_si512(codes, _mm512_set1_epi8(-128)); }

struct VnniDot {
  static constexpr int tile = 5, vectors = 4;
  static constexpr int64_t most_steps = 1 << 16;
  using Line = Bytes;
  using Sum = I;

  static Sum zero() { return zero_int(); }
  static Sum dot(Sum sum, Line w, Bytes x) { return _mm512_dpbusd_epi32(sum, w, x); }
  // In tiles gcc 12 reorders the intrinsic until the sums no longer fit into 32 registers.
  static Sum dot_in_tile(Sum sum, Line w, Bytes x) {
    asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(w), "v"(x));
    return sum;
  }
  static I collect(I sum, Sum products) { return sum + products; }
};
struct Int8Dot : VnniDot {
  static constexpr Codes stored = Codes::bytes;
  static constexpr bool unpack_first = false;
  static constexpr int32_t offset = 128;
  // One tile is one stream, too.
  static constexpr int64_t fewest_rows_ahead = tile + 1;
  static Line line(const std::byte* codes) { return flip_signs(load_bytes(codes)); }
};
struct Int4Dot : VnniDot {
  static constexpr Codes stored = Codes::nibbles;
  static constexpr bool unpack_first = false;
  static constexpr int32_t offset = 8;
  static constexpr int64_t fewest_rows_ahead = 4;
  static Line line(const std::byte* codes) { return load_bytes(codes); }
  static Sum dot_nibbles(Sum sum, const Bytes& line, const Bytes& low, const Bytes& high) {
    return dot(dot(sum, low_nibbles(line), low), high_nibbles(line), high);
  }
};
struct UnsignedDot : VnniDot {
  static constexpr int64_t fewest_rows_ahead = tile + 1;
  static Line line(const std::byte* codes) { return load_bytes(codes); }
};

#include "kernels/isa/narrow_codes.inl"
#include "kernels/isa/elementwise.inl"
#include "kernels/isa/attention.inl"
#include "kernels/isa/matmul_quantized.inl"
#include "kernels/isa/matmul_float.inl"

}  // namespace

extern const KernelTable avx512_vnni_kernels;
constinit const KernelTable avx512_vnni_kernels = {
    .name = "avx512_vnni",
    .int8_instruction = "vpdpbusd (512 bits)",
    .exact_u8s8 = true,
#include "kernels/isa/table.inl"
};

}  // namespace whittle
