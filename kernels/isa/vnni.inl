// Dot products by vpdpbusd, which sums four products of an unsigned and a signed byte into 32 bits, exactly.
// The codes take the unsigned side, shifted by 128; the shift leaves again through the activations' sums
// (`offset`). Included before matmul_quantized.inl.

// Zen 4 reads one stream best by itself: distances from 256 to 6144 bytes cost one row of x 2 to 36 %.
// Sapphire Rapids decodes int4 1.3 to 1.5 times as fast with 4096 bytes, less so with fewer, and int8 1.1
// times.
const int64_t prefetch_distance = __builtin_cpu_is("intel") ? 4096 : 0;
const int64_t nibbles_prefetch_distance = prefetch_distance;

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
struct Int8Slots;
struct Int4Slots;
struct Int8Dot : VnniDot {
  using Slots = Int8Slots;
  static constexpr Codes stored = Codes::bytes;
  static constexpr bool unpack_first = false;
  static constexpr int32_t offset = 128;
  // One tile is one stream, too.
  static constexpr int64_t fewest_rows_ahead = tile + 1;
  static Line line(const std::byte* codes) { return flip_signs(load_bytes(codes)); }
};
struct Int4Dot : VnniDot {
  using Slots = Int4Slots;
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

// Slots of sparse rows, of two times four inputs, by the inputs picked for them. Each row picks its own,
// whose sums nobody knows: what takes the unsigned side is multiplied once more by the other side's shift.
struct SparseDot {
  static constexpr int64_t longest = int64_t{1} << 18;
  struct Sum {
    I products, shift;
  };
  static Sum zero() { return {zero_int(), zero_int()}; }
  static Sum add(Sum sum, Bytes u, Bytes s, Bytes shift, Bytes shifted) {
    return {_mm512_dpbusd_epi32(sum.products, u, s), _mm512_dpbusd_epi32(sum.shift, shift, shifted)};
  }
  static I collect(I sum, Sum products) { return sum + (products.products - products.shift); }
};
// The inputs are shifted, since the codes can be summed as they lie.
struct SparseInt8Dot : SparseDot {
  static constexpr int code_lines = 2;
  static Bytes inputs(const int8_t* x) { return flip_signs(splat_qword(x)); }
  static Sum dot(Sum sum, const std::byte* codes, Bytes x) {
    const Bytes line = load_bytes(codes);
    return add(sum, x, line, _mm512_set1_epi8(-128), line);
  }
};
struct SparseInt4Dot : SparseDot {
  static constexpr int code_lines = 1;
  static Bytes inputs(const int8_t* x) { return splat_qword(x); }
  static Sum dot_nibbles(Sum sum, const std::byte* codes, Bytes first, Bytes second) {
    const Bytes shift = _mm512_set1_epi8(8), line = load_bytes(codes);
    return add(add(sum, low_nibbles(line), first, shift, first), high_nibbles(line), second, shift, second);
  }
};

// The same for several rows of x. All inputs are shifted, and what that adds is known from a row of zeros
// beside them: it is the same for every row.
struct SlotsDot : VnniDot {
  static constexpr int tile = 5;
  static constexpr int64_t longest = int64_t{1} << 18, rows_of_zeros = 1;
  static Bytes shifted(Bytes x) { return flip_signs(x); }
  static Sum dot(Sum sum, const Line& codes, const Bytes& x) { return dot_in_tile(sum, x, codes); }
};
struct Int8Slots : SlotsDot {
  static constexpr int64_t most_rows = int64_t{1} << 62;
  static constexpr int code_lines = 2;
  static Line line(const std::byte* codes, int half) { return load_bytes(codes + 256 * half); }
};
struct Int4Slots : SlotsDot {
  static constexpr int64_t most_rows = 24;
  static constexpr int code_lines = 1;
  static Line line(const std::byte* codes, int half) {
    const Bytes both = load_bytes(codes);
    return minus_eights(half ? high_nibbles(both) : low_nibbles(both));
  }
};
