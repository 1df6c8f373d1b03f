// Matrix products over packed panels of floats. Included like elementwise.inl. An output is one chain of multiply-adds in
// order of k, in decode and in prefill.

struct StoredF32 {
  using Element = float;
  static F load_vector(const Element* p) { return load(p); }
};
struct StoredF16 {
  using Element = uint16_t;
  static F load_vector(const Element* p) { return load_f16(p); }
};
struct StoredBF16 {
  using Element = uint16_t;
  static F load_vector(const Element* p) { return load_bf16(p); }
};

template <class Stored>
void multiply_row_float(const PackedWeight& w, const float* x, Range panels, float* y) {
  for (int64_t p = panels.begin; p < panels.end; ++p) {
    const auto* codes = reinterpret_cast<const typename Stored::Element*>(w.panels.data() + p * w.panel_bytes);
    F sums[panel_vectors];
#pragma GCC unroll 8
    for (int v = 0; v < panel_vectors; ++v) sums[v] = splat(0);
    for (int64_t k = 0; k < w.cols; ++k) {
      if constexpr (sizeof *codes == 2)  // wider ones need no help
        prefetch_stream<panel_rows * 2>(reinterpret_cast<const std::byte*>(codes + k * panel_rows));
      const F input = splat(x[k]);
#pragma GCC unroll 8
      for (int v = 0; v < panel_vectors; ++v)
        sums[v] = fma(Stored::load_vector(codes + k * panel_rows + v * lanes), input, sums[v]);
    }
#pragma GCC unroll 8
    for (int v = 0; v < panel_vectors; ++v) store(y + p * panel_rows + v * lanes, sums[v]);
  }
}

// totals[tile, panel_rows] += products of `steps` inputs with `vectors` registers of rows of the weight.
template <int tile, int vectors>
[[gnu::noinline, gnu::flatten]] void add_float_products(const float* weights, const float* x, int64_t x_stride, int64_t steps,
                                                        float* totals) {
  F sums[tile][vectors];
#pragma GCC unroll 8
  for (int i = 0; i < tile; ++i)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) sums[i][v] = load(totals + i * panel_rows + v * lanes);
  for (int64_t s = 0; s < steps; ++s) {
    F line[vectors];
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) line[v] = load(weights + (s * vectors + v) * lanes);
#pragma GCC unroll 8
    for (int i = 0; i < tile; ++i) {
      const F input = splat(x[i * x_stride + s]);
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) sums[i][v] = fma(line[v], input, sums[i][v]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < tile; ++i)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) store(totals + i * panel_rows + v * lanes, sums[i][v]);
}

// A block of rows of x with one panel. Strips of the panel's rows are unpacked to floats side by side, each in order of k.
template <class Stored>
struct FloatBlock {
  static constexpr int64_t columns = 128;
  alignas(64) float unpacked[panel_rows * columns];
  alignas(64) float totals[block_rows * panel_rows];

  void multiply_panel(const typename Stored::Element* codes, int64_t cols, const float* x, int64_t x_stride, int64_t rows) {
    __builtin_memset(totals, 0, static_cast<size_t>(rows * panel_rows) * sizeof(float));
    for (int64_t k = 0; k < cols; k += columns) {
      const int64_t steps = min_of(columns, cols - k);
      int64_t row = 0;
      for (; row + float_vectors * lanes <= panel_rows; row += float_vectors * lanes)
        multiply_strip<float_vectors>(codes + k * panel_rows, steps, row, x + k, x_stride, rows);
      if constexpr (panel_vectors % float_vectors != 0)
        multiply_strip<panel_vectors % float_vectors>(codes + k * panel_rows, steps, row, x + k, x_stride, rows);
    }
  }

  template <int vectors>
  void multiply_strip(const typename Stored::Element* codes, int64_t steps, int64_t row, const float* x, int64_t x_stride,
                      int64_t rows) {
    for (int64_t s = 0; s < steps; ++s)
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v)
        store(unpacked + (s * vectors + v) * lanes, Stored::load_vector(codes + s * panel_rows + row + v * lanes));
    for_tiles<float_tile>(rows, [&]<int tile>(int64_t m) {
      add_float_products<tile, vectors>(unpacked, x + m * x_stride, x_stride, steps, totals + m * panel_rows + row);
    });
  }
};

template <class Stored>
void multiply_rows_float(const PackedWeight& w, const FloatRows& x, Range panels, MatmulOutput y) {
  FloatBlock<Stored> block;
  const int64_t step = rows_of_block(x.rows);
  for (int64_t p = panels.begin; p < panels.end; ++p) {
    const auto* codes = reinterpret_cast<const typename Stored::Element*>(w.panels.data() + p * w.panel_bytes);
    for (int64_t m0 = 0; m0 < x.rows; m0 += step) {
      const int64_t rows = min_of(step, x.rows - m0);
      block.multiply_panel(codes, w.cols, x.values + m0 * x.stride, x.stride, rows);
      store_block(block.totals, rows, y.values + m0 * y.stride + p * panel_rows, y.stride);
    }
  }
}

template <class Stored>
void multiply_float(const PackedWeight& w, const FloatRows& x, Range panels, MatmulOutput y) {
  if (x.rows == 1) return multiply_row_float<Stored>(w, x.values, panels, y.values);
  multiply_rows_float<Stored>(w, x, panels, y);
}

[[gnu::flatten]] void matmul_float(const PackedWeight& w, const FloatRows& x, Range panels, MatmulOutput y) {
  switch (w.format) {
    case WeightFormat::f32: return multiply_float<StoredF32>(w, x, panels, y);
    case WeightFormat::f16: return multiply_float<StoredF16>(w, x, panels, y);
    default: return multiply_float<StoredBF16>(w, x, panels, y);
  }
}
