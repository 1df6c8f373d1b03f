// The vector type of an instruction set that xsimd knows. Included inside an anonymous namespace after `using
// Arch = …`. Functions here and in the other .inl files are all inlined: an instruction set's object must not
// leave a copy of an inline function that the linker could choose for other CPUs (a test looks for one).

using F = xsimd::batch<float, Arch>;
using I = xsimd::batch<int32_t, Arch>;
constexpr int lanes = static_cast<int>(F::size);

inline F splat(float value) { return F(value); }
inline F load(const float* p) { return F::load_unaligned(p); }
inline void store(float* p, F v) { v.store_unaligned(p); }
inline F fma(
    F a, F b,
    F c);  // each instruction set's own: for AVX-512, xsimd 8.1 multiplies and adds, and so rounds twice
inline float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
// a > b ? a : b and a < b ? a : b, also of what is no number.
inline F max(F a, F b) { return xsimd::max(a, b); }
inline F min(F a, F b) { return xsimd::min(a, b); }
inline F abs(F a) { return xsimd::abs(a); }
inline I bits_of(F a) { return xsimd::bitwise_cast<I>(a); }
inline F of_bits(I bits) { return xsimd::bitwise_cast<F>(bits); }
// a < b ? then : otherwise.
inline F where_less(F a, F b, F then, F otherwise) { return xsimd::select(a < b, then, otherwise); }

inline I zero_int() { return I(0); }
inline I splat_int(int32_t value) { return I(value); }
inline I load_int(const int32_t* p) { return I::load_unaligned(p); }
inline void store_int(int32_t* p, I v) { v.store_unaligned(p); }
inline F to_float(I v) { return xsimd::batch_cast<float>(v); }
inline I round_to_int(F v) { return xsimd::nearbyint_as_int(v); }

#include "kernels/isa/exp.inl"
