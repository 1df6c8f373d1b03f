// One row of x times the codes of some inputs of a dense panel. Included after the instruction set's
// `Int8Dot`, `Int6Dot`, `Int5Dot` and `Int4Dot`. The functions return the end of the codes.

// The products of one row of x with `cols` inputs of a panel.
inline const std::byte* dot_row_int8(const std::byte* codes, const int8_t* x, int64_t cols,
                                     I (&sums)[panel_vectors]) {
  Int8Dot::Sum products[panel_vectors];
#pragma GCC unroll 16
  for (int v = 0; v < panel_vectors; ++v) products[v] = Int8Dot::zero();
  for (int64_t k = 0; k < cols; k += 4, codes += 256) {
    prefetch_stream<256>(codes);
    const Bytes input = splat_dword(x + k);
#pragma GCC unroll 16
    for (int v = 0; v < panel_vectors; ++v)
      products[v] = Int8Dot::dot(products[v], Int8Dot::line(codes + v * 4 * lanes), input);
  }
#pragma GCC unroll 16
  for (int v = 0; v < panel_vectors; ++v) sums[v] = Int8Dot::collect(zero_int(), products[v]);
  return codes;
}

// A function of its own, so that all registers are its own.
[[gnu::noinline, gnu::flatten]] const std::byte* dot_row_int4(const std::byte* codes, const int8_t* x,
                                                              int64_t cols, I (&sums)[panel_vectors]) {
  constexpr int64_t longest = 4 * Int4Dot::most_steps;
#pragma GCC unroll 16
  for (int v = 0; v < panel_vectors; ++v) sums[v] = zero_int();
  for (int64_t begin = 0; begin < cols; begin += longest) {
    const int64_t end = min_of(cols, begin + longest);
    Int4Dot::Sum products[panel_vectors];
#pragma GCC unroll 16
    for (int v = 0; v < panel_vectors; ++v) products[v] = Int4Dot::zero();
    for (int64_t k = begin; k < end; k += 8, codes += 256) {
      prefetch_stream<256>(codes, nibbles_prefetch_distance);
      const Bytes low = splat_dword(x + k), high = splat_dword(x + k + 4);
#pragma GCC unroll 16
      for (int v = 0; v < panel_vectors; ++v)
        products[v] = Int4Dot::dot_nibbles(products[v], load_bytes(codes + v * 4 * lanes), low, high);
    }
#pragma GCC unroll 16
    for (int v = 0; v < panel_vectors; ++v) sums[v] = Int4Dot::collect(sums[v], products[v]);
  }
  return codes;
}

// sum + four inputs of a single row, where they lie, by their codes.
template <class Dot>
[[gnu::always_inline]] inline typename Dot::Sum add_products_at(typename Dot::Sum sum, const Bytes& line,
                                                                const int8_t* x) {
  if constexpr (requires { Dot::dot_at(sum, line, x); })
    return Dot::dot_at(sum, line, x);
  else
    return Dot::dot(sum, line, splat_dword(x));
}

template <class Dot>
[[gnu::noinline, gnu::flatten]] const std::byte* dot_row_narrow(const std::byte* codes, const int8_t* x,
                                                                int64_t cols, I (&sums)[panel_vectors]) {
  using Stored = typename Dot::Stored;
  typename Dot::Sum products[panel_vectors];
#pragma GCC unroll 16
  for (int v = 0; v < panel_vectors; ++v) products[v] = Dot::zero();
  for (int64_t k = 0; k < cols; k += 4 * Stored::lines, codes += 256 * Stored::stored) {
    prefetch_stream<256 * Stored::stored>(codes);
#pragma GCC unroll 16
    for (int v = 0; v < panel_vectors; ++v) {
      ByteShifts line[Stored::lines];
      Stored::unpack(codes + v * 4 * lanes, line);
#pragma GCC unroll 8
      for (int i = 0; i < Stored::lines; ++i)
        products[v] = add_products_at<Dot>(products[v], __builtin_bit_cast(Bytes, line[i]), x + k + 4 * i);
    }
  }
#pragma GCC unroll 16
  for (int v = 0; v < panel_vectors; ++v) sums[v] = Dot::collect(zero_int(), products[v]);
  return codes;
}

// The products of one row with codes that are not dense bytes, and what the codes are shifted by.
struct DotRow {
  const std::byte* (*dot)(const std::byte* codes, const int8_t* x, int64_t cols, I (&sums)[panel_vectors]);
  int32_t offset;
};
inline DotRow dot_row_of(WeightFormat format) {
  if (format == WeightFormat::int6) return {dot_row_narrow<Int6Dot>, Int6Dot::offset};
  if (format == WeightFormat::int5) return {dot_row_narrow<Int5Dot>, Int5Dot::offset};
  return {dot_row_int4, Int4Dot::offset};
}
