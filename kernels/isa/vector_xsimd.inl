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
inline F max(F a, F b) { return xsimd::max(a, b); }
inline F min(F a, F b) { return xsimd::min(a, b); }
inline F abs(F a) { return xsimd::abs(a); }

inline I zero_int() { return I(0); }
inline I splat_int(int32_t value) { return I(value); }
inline I load_int(const int32_t* p) { return I::load_unaligned(p); }
inline void store_int(int32_t* p, I v) { v.store_unaligned(p); }
inline F to_float(I v) { return xsimd::batch_cast<float>(v); }
inline I round_to_int(F v) { return xsimd::nearbyint_as_int(v); }

// e^x within 3 units in the last place between e^-87.3 and e^88.3, both normal numbers: 0 below, e^88.3
// above. What xsimd's own does for denormal results costs as much again. x = n · ln 2 + r; the polynomial is
// the best of its degree for e^r = 1 + r + r² · q(r), measured by the relative error.
inline F exp(F x) {
  const F least = splat(-87.3f);
  const F bounded = min(splat(88.3f), max(least, x));  // in this order a NaN stays
  const I n = round_to_int(bounded * splat(1.44269504f));
  F r = fma(to_float(n), splat(-0.693145752f), bounded);  // ln 2 in two parts, the first exact times n
  r = fma(to_float(n), splat(-1.42860677e-6f), r);
  F q = splat(0.00138146103f);
  for (float c : {0.00836871124f, 0.0416683875f, 0.166665207f, 0.499999935f}) q = fma(q, r, splat(c));
  const F power = fma(q * r, r, r + splat(1));
  const F result = xsimd::bitwise_cast<F>(xsimd::bitwise_cast<I>(power) + (n << 23));
  return xsimd::select(x < least, splat(0), result);
}
