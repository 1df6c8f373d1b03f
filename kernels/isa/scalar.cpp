// Plain C++ for any CPU, in vectors of four that the compiler maps to whatever every CPU of its family has.

#include "kernels/float16.h"
#include "kernels/kernel_table.h"
#include "kernels/sparse_weight.h"

namespace whittle {
namespace {

constexpr int lanes = 4;
using F = float __attribute__((vector_size(4 * lanes)));
using I = int32_t __attribute__((vector_size(4 * lanes)));

// Masked codes end anywhere, and the next group's scales begin there: p need not be aligned.
template <typename Result, typename Element, class Op>
inline Result gather(const Element* p, Op op) {
  Element e[lanes];
  __builtin_memcpy(e, p, sizeof e);
  return Result{op(e[0]), op(e[1]), op(e[2]), op(e[3])};
}

inline F splat(float value) { return F{value, value, value, value}; }
inline F load(const float* p) {
  return gather<F>(p, [](float x) { return x; });
}
inline void store(float* p, F a) { __builtin_memcpy(p, &a, sizeof a); }
inline I bits_of(F a) { return reinterpret_cast<I>(a); }
inline F of_bits(I bits) { return reinterpret_cast<F>(bits); }
inline F where_less(F a, F b, F then, F otherwise) { return a < b ? then : otherwise; }
// Sums of two doubles, of which the one is taken that is odd among the two neighbours of the exact sum
// (rounding to odd), where that is no double: rounded to float it is the exact sum rounded to float (Boldo
// and Melquiond, 2008). Not inlined: it would double the code and the compiler's time, and gain nothing.
using D = double __attribute__((vector_size(16)));
[[gnu::noinline]] D add_to_odd(D a, D b) {
  using L = int64_t __attribute__((vector_size(16)));
  const D sum = a + b, part = sum - a, lost = (a - (sum - part)) + (b - part);
  const L bits = reinterpret_cast<L>(sum), toward_zero = (lost < 0) ^ (sum < 0);
  const L inexact = (lost < 0) | (lost > 0), odd = (bits + toward_zero) | 1;
  return reinterpret_cast<D>((odd & inexact) | (bits & ~inexact));
}
// a · b + c with one rounding, as the instruction has it. The product of two floats is exact in double.
inline F fma(F a, F b, F c) {
  using Wide = double __attribute__((vector_size(8 * lanes)));
  const Wide product = __builtin_convertvector(a, Wide) * __builtin_convertvector(b, Wide),
             addend = __builtin_convertvector(c, Wide);
  const D low = add_to_odd(D{product[0], product[1]}, D{addend[0], addend[1]}),
          high = add_to_odd(D{product[2], product[3]}, D{addend[2], addend[3]});
  return __builtin_convertvector((Wide{low[0], low[1], high[0], high[1]}), F);
}
inline float fma(float a, float b, float c) { return fma(splat(a), splat(b), splat(c))[0]; }
inline F max(F a, F b) { return a > b ? a : b; }
inline F min(F a, F b) { return a < b ? a : b; }
inline F abs(F a) { return of_bits(bits_of(a) & 0x7fffffff); }
inline I zero_int() { return I{0, 0, 0, 0}; }
inline I splat_int(int32_t value) { return I{value, value, value, value}; }
inline I load_int(const int32_t* p) { return I{p[0], p[1], p[2], p[3]}; }
inline void store_int(int32_t* p, I a) { __builtin_memcpy(p, &a, sizeof a); }
inline F to_float(I a) { return __builtin_convertvector(a, F); }
inline float reduce_add(F a) { return (a[0] + a[2]) + (a[1] + a[3]); }
inline int32_t reduce_add(I a) { return a[0] + a[1] + a[2] + a[3]; }
inline float reduce_max(F a) {
  const float low = a[0] > a[1] ? a[0] : a[1], high = a[2] > a[3] ? a[2] : a[3];
  return low > high ? low : high;
}
// Of numbers within int32.
inline I round_to_int(F a) {
  const auto round = [](float x) { return static_cast<int32_t>(__builtin_lrintf(x)); };
  return I{round(a[0]), round(a[1]), round(a[2]), round(a[3])};
}
#include "kernels/isa/exp.inl"

template <typename Stored>
inline Stored narrow(float value);
template <>
inline float narrow<float>(float value) {
  return value;
}
template <>
inline uint16_t narrow<uint16_t>(float value) {
  return float_to_f16(value);
}
template <>
inline int8_t narrow<int8_t>(float value) {
  return static_cast<int8_t>(__builtin_rintf(value));
}
inline float scalar_value(float stored) { return stored; }
inline float scalar_value(uint16_t stored) { return f16_to_float(stored); }
inline float scalar_value(int8_t stored) { return stored; }

inline F load_f16(const uint16_t* p) {
  return gather<F>(p, [](uint16_t x) { return f16_to_float(x); });
}
inline F load_bf16(const uint16_t* p) {
  return gather<F>(p, [](uint16_t x) { return bf16_to_float(x); });
}
inline I load_int8_as_int(const int8_t* p) { return I{p[0], p[1], p[2], p[3]}; }
inline F load_int8(const int8_t* p) { return to_float(load_int8_as_int(p)); }
inline void store_int8(int8_t* p, I a) {
  for (int i = 0; i < lanes; ++i) p[i] = static_cast<int8_t>(a[i]);
}

// Four codes of each of four rows of a weight, or the same four inputs for each of them.
struct Bytes {
  int8_t values[4 * lanes];
};
inline Bytes load_bytes(const void* p) {
  Bytes bytes;
  __builtin_memcpy(&bytes, p, sizeof bytes);
  return bytes;
}
inline Bytes splat_dword(const int8_t* p) {
  Bytes bytes;
  for (int i = 0; i < lanes; ++i) __builtin_memcpy(bytes.values + 4 * i, p, 4);
  return bytes;
}
inline void store_bytes(void* p, Bytes bytes) { __builtin_memcpy(p, &bytes, sizeof bytes); }
template <class Bits>
inline Bits select_bits(Bits mask, Bits a, Bits b) {
  return (a & mask) | (b & ~mask);
}
inline Bytes low_nibbles(Bytes bytes) {
  for (int8_t& value : bytes.values) value &= 15;
  return bytes;
}
inline Bytes high_nibbles(Bytes bytes) {
  for (int8_t& value : bytes.values) value = static_cast<int8_t>(value >> 4 & 15);
  return bytes;
}

constexpr int64_t prefetch_distance = 0, nibbles_prefetch_distance = 0;
#include "kernels/isa/blocking.inl"

struct Int8Dot {
  static constexpr Codes stored = Codes::bytes;
  static constexpr bool unpack_first = false;
  static constexpr int tile = 1, vectors = 1;
  static constexpr int64_t most_steps = 1 << 16;
  static constexpr int32_t offset = 0;
  static constexpr int64_t fewest_rows_ahead = 2;
  using Line = Bytes;
  using Sum = I;

  static Line line(const std::byte* codes) { return load_bytes(codes); }
  static Sum zero() { return zero_int(); }
  static Sum dot(Sum sum, const Line& w, const Bytes& x) {
    for (int i = 0; i < 4 * lanes; ++i) sum[i / 4] += w.values[i] * x.values[i];
    return sum;
  }
  static I collect(I sum, Sum products) { return sum + products; }
};
struct Int4Dot : Int8Dot {
  static constexpr Codes stored = Codes::nibbles;
  static constexpr bool unpack_first = true;
  static constexpr int32_t offset = 8;
  static Sum dot_nibbles(Sum sum, const Bytes& line, const Bytes& low, const Bytes& high) {
    return dot(dot(sum, low_nibbles(line), low), high_nibbles(line), high);
  }
};
using UnsignedDot = Int8Dot;
constexpr int float_tile = 1, float_vectors = 4;

#include "kernels/isa/narrow_codes.inl"
#include "kernels/isa/dot_row.inl"
#include "kernels/isa/sparse_expanded.inl"

template <Packing packing>
DotRow expanded_dot_row(WeightFormat format) {
  if (format == WeightFormat::int8) return {dot_row_expanded<WeightFormat::int8, packing>, Int8Dot::offset};
  return {dot_row_expanded<WeightFormat::int4, packing>, Int4Dot::offset};
}
DotRow sparse_dot_row(WeightFormat format, Packing packing) {
  switch (packing) {
    case Packing::two_of_four: return expanded_dot_row<Packing::two_of_four>(format);
    case Packing::four_of_eight: return expanded_dot_row<Packing::four_of_eight>(format);
    default: return expanded_dot_row<Packing::masked>(format);
  }
}
constexpr auto expand = expand_codes;

// Sparse panels are made dense: no Dot has slots.
template <class Dot, Packing packing>
void unpack_places(const std::byte* codes, int64_t inputs, std::byte* places);
template <class Dot, Packing packing, bool unpacked, int tile>
void add_slots(const std::byte* codes, const std::byte* places, const int8_t* x, int64_t x_stride,
               int64_t inputs, bool first, int32_t* sums, const Ahead* from_memory);

#include "kernels/isa/elementwise.inl"
#include "kernels/isa/attention.inl"
#include "kernels/isa/matmul_quantized.inl"
#include "kernels/isa/matmul_float.inl"

}  // namespace

extern const KernelTable scalar_kernels;
constinit const KernelTable scalar_kernels = {
    .name = "scalar",
    .int8_instruction = "plain C++",
    .exact_u8s8 = false,
    .reads_masks = false,
#include "kernels/isa/table.inl"
};

}  // namespace whittle
