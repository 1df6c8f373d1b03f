// Masked panels (sparse_weight.h) by vpexpandb. Included after dot_row.inl.

// Calls use(k, v, line) for each line of `inputs` inputs: codes of inputs k to k + 3 of the rows from 16 · v
// on. Returns the end of them.
template <class Use>
[[gnu::always_inline]] inline const std::byte* for_masked_lines(const std::byte* codes, int64_t inputs,
                                                                Use use) {
  constexpr int lines = 2 * panel_vectors;
  // Copied for each line: the instruction waits for whoever wrote its target last, even where it zeroes it.
  Bytes zeros = Bytes{};
  asm("" : "+v"(zeros));
  for (int64_t k = 0; k < inputs; k += 8) {
    const std::byte* masks = codes;
    codes += 8 * lines;
#pragma GCC unroll 8
    for (int i = 0; i < lines; ++i) {
      uint64_t mask;
      __builtin_memcpy(&mask, masks + 8 * i, 8);
      Bytes line = load_bytes(codes);
      asm("" : "+v"(line));  // from memory the instruction would take microcode (Zen 4)
      use(k + i / panel_vectors * 4, i % panel_vectors, _mm512_mask_expand_epi8(zeros, mask, line));
      codes += __builtin_popcountll(mask);
    }
  }
  return codes;
}

[[gnu::noinline, gnu::flatten]] const std::byte* dot_row_masked(const std::byte* codes, const int8_t* x,
                                                                int64_t cols, I (&sums)[panel_vectors]) {
  I products[panel_vectors];
#pragma GCC unroll 4
  for (int v = 0; v < panel_vectors; ++v) products[v] = zero_int();
  codes = for_masked_lines(codes, cols, [&](int64_t k, int v, Bytes line) {
    products[v] = Int8Dot::dot(products[v], flip_signs(line), splat_dword(x + k));
  });
#pragma GCC unroll 4
  for (int v = 0; v < panel_vectors; ++v) sums[v] = products[v];
  return codes;
}

const std::byte* expand_masked(const std::byte* codes, int64_t inputs, std::byte* dense) {
  return for_masked_lines(codes, inputs, [&](int64_t k, int v, Bytes line) {
    store_bytes(dense + k * panel_rows + v * 64, line);
  });
}
