// The exponential function of softmax, silu and gelu.

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
  return where_less(x, least, splat(0), of_bits(bits_of(power) + (n << 23)));
}
