// Plain C++ for any CPU, in vectors of four that the compiler maps to whatever every CPU of its family has.

#include "kernels/float16.h"
#include "kernels/kernel_table.h"

namespace whittle {
namespace {

constexpr int lanes = 4;
using F = float __attribute__((vector_size(4 * lanes)));
using I = int32_t __attribute__((vector_size(4 * lanes)));

template <typename Result, typename Element, class Op>
inline Result gather(const Element* p, Op op) {
  return Result{op(p[0]), op(p[1]), op(p[2]), op(p[3])};
}

inline F splat(float value) { return F{value, value, value, value}; }
inline F load(const float* p) { return F{p[0], p[1], p[2], p[3]}; }
inline void store(float* p, F a) { __builtin_memcpy(p, &a, sizeof a); }
// Without the instruction, a fused multiply-add is a slow library call: two roundings serve as well.
inline F fma(F a, F b, F c) { return a * b + c; }
inline F max(F a, F b) { return a > b ? a : b; }
inline F min(F a, F b) { return a < b ? a : b; }
inline F abs(F a) { return max(a, -a); }
inline F exp(F a) {
  return F{__builtin_expf(a[0]), __builtin_expf(a[1]), __builtin_expf(a[2]), __builtin_expf(a[3])};
}
inline I zero_int() { return I{0, 0, 0, 0}; }
inline I splat_int(int32_t value) { return I{value, value, value, value}; }
inline I load_int(const int32_t* p) { return I{p[0], p[1], p[2], p[3]}; }
inline void store_int(int32_t* p, I a) { __builtin_memcpy(p, &a, sizeof a); }
inline F to_float(I a) { return __builtin_convertvector(a, F); }
inline float reduce_add(F a) { return (a[0] + a[1]) + (a[2] + a[3]); }
inline int32_t reduce_add(I a) { return a[0] + a[1] + a[2] + a[3]; }
inline float reduce_max(F a) {
  const float low = a[0] > a[1] ? a[0] : a[1], high = a[2] > a[3] ? a[2] : a[3];
  return low > high ? low : high;
}
inline I round_to_int(F a) {
  const auto round = [](float x) { return static_cast<int32_t>(__builtin_rintf(x)); };
  return I{round(a[0]), round(a[1]), round(a[2]), round(a[3])};
}

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

inline F load_f16(const uint16_t* p) { return gather<F>(p, [](uint16_t x) { return f16_to_float(x); }); }
inline F load_bf16(const uint16_t* p) { return gather<F>(p, [](uint16_t x) { return bf16_to_float(x); }); }
inline I load_int8_as_int(const int8_t* p) { return I{p[0], p[1], p[2], p[3]}; }
inline F load_int8(const int8_t* p) { return to_float(load_int8_as_int(p)); }
inline void store_int8(int8_t* p, I a) {
  for (int i = 0; i < lanes; ++i) p[i] = static_cast<int8_t>(a[i]);
}

// The code of input k (from the start of `codes`) of row `row` of a panel.
inline int32_t code_at(WeightFormat format, const std::byte* codes, int64_t row, int64_t k) {
  if (format == WeightFormat::int8) return static_cast<int8_t>(codes[k / 4 * 256 + row * 4 + k % 4]);
  const std::byte pair = codes[k / 8 * 256 + row * 4 + k % 4];
  return static_cast<int32_t>((k % 8 < 4 ? pair : pair >> 4) & std::byte{15}) - 8;
}

struct Gemv {
  static constexpr int32_t int8_offset = 0, int4_offset = 0;
  static constexpr int vectors = static_cast<int>(panel_rows) / lanes;

  static void dot(WeightFormat format, const std::byte* codes, const int8_t* x, int64_t cols, I (&sums)[vectors]) {
    for (I& sum : sums) sum = zero_int();
    for (int64_t k = 0; k < cols; ++k)
      for (int64_t row = 0; row < panel_rows; ++row) sums[row / lanes][row % lanes] += code_at(format, codes, row, k) * x[k];
  }
  static void dot_int8(const std::byte* codes, const int8_t* x, int64_t cols, I (&sums)[vectors]) {
    dot(WeightFormat::int8, codes, x, cols, sums);
  }
  static void dot_int4(const std::byte* codes, const int8_t* x, int64_t cols, I (&sums)[vectors]) {
    dot(WeightFormat::int4, codes, x, cols, sums);
  }
};

#include "kernels/isa/blocking.inl"

struct Gemm {
  using Weight = int32_t;
  using Input = int32_t;
  using Line = I;
  using Sum = I;
  static constexpr int step = 1;
  static constexpr int vectors = 1;
  static constexpr int64_t narrow_steps = 0;
  static constexpr int32_t offset = 0;

  static I load_line(const int32_t* p) { return load_int(p); }
  static I broadcast(const int32_t* p) { return splat_int(*p); }
  static I zero() { return zero_int(); }
  static I dot(I sum, I weights, I input) { return sum + weights * input; }
  static I collect(I sum, I products) { return sum + products; }

  static void unpack(WeightFormat format, const std::byte* codes, int64_t cols, int32_t* block, int64_t at) {
    for (int64_t row = 0; row < panel_rows; ++row)
      for (int64_t k = 0; k < cols; ++k)
        block[row / lanes * lanes * block_cols + (at + k) * lanes + row % lanes] = code_at(format, codes, row, k);
  }

  static void load_inputs(const int8_t* codes, int64_t cols, int32_t* inputs) {
    for (int64_t k = 0; k < cols; ++k) inputs[k] = codes[k];
  }
};
using GemmInt4 = Gemm;

#include "kernels/isa/elementwise.inl"
#include "kernels/isa/attention.inl"
#include "kernels/isa/matmul.inl"

}  // namespace

extern const KernelTable scalar_kernels;
constinit const KernelTable scalar_kernels = {
    .name = "scalar",
    .int8_instruction = "plain C++",
#include "kernels/isa/table.inl"
};

}  // namespace whittle
