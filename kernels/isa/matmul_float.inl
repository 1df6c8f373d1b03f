// Matrix products over packed panels of floats. Included like elementwise.inl. An output is one chain of
// multiply-adds in order of k, in decode and in prefill.

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
    const auto* codes =
        reinterpret_cast<const typename Stored::Element*>(w.panels.data() + p * w.panel_bytes);
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

// totals[tile, panel_rows] += products of `steps` inputs with float_vectors registers of rows of the weight,
// `stride` elements from an input to the next. Asks memory for what lies `ahead` elements further, if that is
// not 0.
template <class Stored, int tile, int64_t ahead = 0>
[[gnu::noinline, gnu::flatten]] void add_float_products(const typename Stored::Element* weights,
                                                        int64_t stride, const float* x, int64_t x_stride,
                                                        int64_t steps, float* totals) {
  F sums[tile][float_vectors];
#pragma GCC unroll 8
  for (int i = 0; i < tile; ++i)
#pragma GCC unroll 8
    for (int v = 0; v < float_vectors; ++v) sums[i][v] = load(totals + i * panel_rows + v * lanes);
// The loop's own instructions would take one slot in eight from multiply-adds.
#pragma GCC unroll 4
  for (int64_t s = 0; s < steps; ++s, weights += stride) {
    if constexpr (ahead != 0)
      for (int64_t v = 0; v < float_vectors * lanes; v += 64 / sizeof(typename Stored::Element))
        __builtin_prefetch(weights + ahead + v);
    F line[float_vectors];
#pragma GCC unroll 8
    for (int v = 0; v < float_vectors; ++v) line[v] = Stored::load_vector(weights + v * lanes);
#pragma GCC unroll 8
    for (int i = 0; i < tile; ++i) {
      const F input = splat(x[i * x_stride + s]);
#pragma GCC unroll 8
      for (int v = 0; v < float_vectors; ++v) sums[i][v] = fma(line[v], input, sums[i][v]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < tile; ++i)
#pragma GCC unroll 8
    for (int v = 0; v < float_vectors; ++v) store(totals + i * panel_rows + v * lanes, sums[i][v]);
}

// A block of rows of x with one panel, whose rows are taken in strips of float_vectors registers.
template <class Stored>
struct FloatBlock {
  using Element = typename Stored::Element;
  // Inputs that go through all rows before the next do. Their weights stay in L1: as stored, of all rows of
  // the panel; unpacked, of a strip.
  static constexpr int64_t direct_columns = 64, columns = min_of(256, 4096 / (float_vectors * lanes));
  // More tiles of rows than this are worth a pass that unpacks halves.
  static constexpr int64_t most_direct_rows = sizeof(Element) == 4 ? block_rows : 3 * float_tile;
  static_assert(panel_vectors % float_vectors == 0);
  alignas(64) float unpacked[panel_rows * columns];
  alignas(64) float totals[block_rows * panel_rows];

  void multiply_panel(const Element* codes, int64_t cols, const float* x, int64_t x_stride, int64_t rows) {
    __builtin_memset(totals, 0, static_cast<size_t>(rows * panel_rows) * sizeof(float));
    const bool direct = rows <= most_direct_rows;
    const int64_t pass = direct ? direct_columns : columns;
    for (int64_t k = 0; k < cols; k += pass, codes += pass * panel_rows) {
      const int64_t steps = min_of(pass, cols - k);
      if (!direct) unpack(codes, steps);
      for (int64_t row = 0; row < panel_rows; row += float_vectors * lanes)
        for_tiles<float_tile>(rows, [&]<int tile>(int64_t m) {
          float* const sums = totals + m * panel_rows + row;
          const float* const inputs = x + m * x_stride + k;
          if (direct)
            add_float_products<Stored, tile, direct_columns * panel_rows>(codes + row, panel_rows, inputs,
                                                                          x_stride, steps, sums);
          else
            add_float_products<StoredF32, tile>(unpacked + row * columns, float_vectors * lanes, inputs,
                                                x_stride, steps, sums);
        });
    }
  }

  // In one pass over the stream: each strip to a place of its own, its inputs one after another.
  void unpack(const Element* codes, int64_t steps) {
    for (int64_t s = 0; s < steps; ++s, codes += panel_rows) {
      prefetch_stream<panel_rows * sizeof(Element)>(reinterpret_cast<const std::byte*>(codes));
#pragma GCC unroll 16
      for (int v = 0; v < panel_vectors; ++v) {
        const int first = v / float_vectors * float_vectors;
        store(unpacked + (first * columns + s * float_vectors + (v - first)) * lanes,
              Stored::load_vector(codes + v * lanes));
      }
    }
  }
};

template <class Stored>
void multiply_rows_float(const PackedWeight& w, const FloatRows& x, Range panels, MatmulOutput y) {
  FloatBlock<Stored> block;
  const int64_t step = rows_of_block(x.rows);
  for (int64_t p = panels.begin; p < panels.end; ++p) {
    const auto* codes =
        reinterpret_cast<const typename Stored::Element*>(w.panels.data() + p * w.panel_bytes);
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
