// Codes of 6 and 5 bits, from the lines of a panel (packed_weight.h) to registers of bytes. Included before
// matmul_quantized.inl, after `UnsignedDot`: how a register of unsigned codes, of 63 at most, is multiplied
// by four inputs of x.

// Shifts of bytes, whatever the width: what they drag along from a neighbour is masked out.
using ByteShifts = uint32_t __attribute__((vector_size(sizeof(Bytes))));
inline ByteShifts byte_mask(uint8_t mask) { return ByteShifts{} + mask * 0x01010101u; }

// Where `mask` has ones the bits of a, elsewhere those of b.
inline ByteShifts select(uint8_t mask, ByteShifts a, ByteShifts b) {
  return select_bits(byte_mask(mask), a, b);
}

inline ByteShifts load_shifts(const std::byte* p) { return __builtin_bit_cast(ByteShifts, load_bytes(p)); }

// line[0..3] of a step of 16 inputs, for the vector of rows at `codes`.
struct SixBits {
  static constexpr int lines = 4, stored = 3;
  static constexpr int32_t offset = 32;

  [[gnu::always_inline]] static void unpack(const std::byte* codes, ByteShifts (&line)[lines]) {
    const ByteShifts a = load_shifts(codes), b = load_shifts(codes + 256), c = load_shifts(codes + 512);
    const ByteShifts low = byte_mask(0x3f);
    line[0] = a & low;
    line[1] = b & low;
    line[2] = c & low;
    line[3] = select(0xc0, c, select(0xc0, b, a >> 2) >> 2) >> 2 & low;
  }
};

// line[0..7] of a step of 32 inputs.
struct FiveBits {
  static constexpr int lines = 8, stored = 5;
  static constexpr int32_t offset = 16;

  [[gnu::always_inline]] static void unpack(const std::byte* codes, ByteShifts (&line)[lines]) {
    ByteShifts byte[stored];
    const ByteShifts low = byte_mask(0x1f);
#pragma GCC unroll 8
    for (int i = 0; i < stored; ++i) {
      byte[i] = load_shifts(codes + i * 256);
      line[i] = byte[i] & low;
    }
    line[5] = select(0xe0, byte[1], byte[0] >> 3) >> 2 & low;
    line[6] = select(0xe0, byte[3], byte[2] >> 3) >> 2 & low;
    line[7] = select(0x18, select(0x80, byte[3], byte[1] >> 1) >> 3, byte[4] >> 5) & low;
  }
};

template <class Format>
struct NarrowDot : UnsignedDot {
  using Stored = Format;
  static constexpr Codes stored = Codes::narrow;
  static constexpr bool unpack_first = true;
  static constexpr int32_t offset = Format::offset;
};
using Int6Dot = NarrowDot<SixBits>;
using Int5Dot = NarrowDot<FiveBits>;
