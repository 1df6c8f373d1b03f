// Sparse panels by way of small dense blocks: the definition, for `scalar`, and for masked panels where the
// CPU has no instruction for them. Included after dot_row.inl.

template <WeightFormat format, Packing packing>
[[gnu::noinline, gnu::flatten]] const std::byte* dot_row_expanded(const std::byte* codes, const int8_t* x,
                                                                  int64_t cols, I (&sums)[panel_vectors]) {
  for (int v = 0; v < panel_vectors; ++v) sums[v] = zero_int();
  for (int64_t k = 0; k < cols; k += sparse_block) {
    alignas(64) std::byte dense[panel_rows * sparse_block];
    const int64_t inputs = min_of(sparse_block, cols - k);
    codes = expand_codes(format, packing, codes, inputs, dense);
    I part[panel_vectors];
    if constexpr (format == WeightFormat::int8)
      dot_row_int8(dense, x + k, inputs, part);
    else
      dot_row_int4(dense, x + k, inputs, part);
    for (int v = 0; v < panel_vectors; ++v) sums[v] = sums[v] + part[v];
  }
  return codes;
}

inline constexpr auto dot_row_masked = dot_row_expanded<WeightFormat::int8, Packing::masked>;

inline const std::byte* expand_masked(const std::byte* codes, int64_t inputs, std::byte* dense) {
  return expand_codes(WeightFormat::int8, Packing::masked, codes, inputs, dense);
}
