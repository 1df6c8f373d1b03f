// Matrix products over packed panels. Included like elementwise.inl, after the instruction set's `Gemv` and `Gemm`.
//
// One row (decode) goes straight over the packed stream, unpacking in registers: memory is the limit. Several rows
// (prefill) unpack a block of a panel once into cache and reuse it for a block of rows: arithmetic is the limit. Both sum
// integers exactly within a group and share `scaled`, so that they agree in every bit.

constexpr int panel_vectors = static_cast<int>(panel_rows) / lanes;

// Scale, zero point and their products with one group's integer sums, for the vector of rows at `row` of a panel.
struct GroupHeader {
  const std::byte* bytes;
  bool f16_scales, has_zero_points;
  GroupHeader(const PackedWeight& w, int64_t panel, int64_t group)
      : bytes(w.header(panel, w.row_scaled() ? 0 : group)), f16_scales(w.f16_scales), has_zero_points(w.has_zero_points) {}

  F scale(int64_t row) const {
    return f16_scales ? load_f16(reinterpret_cast<const uint16_t*>(bytes) + row)
                      : load(reinterpret_cast<const float*>(bytes) + row);
  }
  I zero_point(int64_t row) const {
    return load_int8_as_int(reinterpret_cast<const int8_t*>(bytes) + panel_rows * (f16_scales ? 2 : 4) + row);
  }
};

// total + float(Σ (code − zero_point) · x) · (weight scale · activation scale). `shift` is Σ x times what the instruction
// added to every code and what the zero point takes off.
inline F scaled(F total, I sum, I shift, F scale, F x_scale) { return fma(to_float(sum - shift), scale * x_scale, total); }

// offset · x_sum, and the zero points' part where there are any.
inline I shift_of(const GroupHeader& header, int64_t row, int32_t offset, int32_t x_sum) {
  const I shift = splat_int(offset * x_sum);
  return header.has_zero_points ? shift + header.zero_point(row) * splat_int(x_sum) : shift;
}

void multiply_row_quantized(const PackedWeight& w, const QuantizedRows& x, Range panels, float* y) {
  const int64_t group = w.row_scaled() ? x.group_size : w.group_size;
  const int32_t offset = w.format == WeightFormat::int8 ? Gemv::int8_offset : Gemv::int4_offset;
  for (int64_t p = panels.begin; p < panels.end; ++p) {
    F total[panel_vectors];
#pragma GCC unroll 8
    for (int v = 0; v < panel_vectors; ++v) total[v] = splat(0);
    for (int64_t g = 0, k = 0; k < w.padded_cols; ++g, k += group) {
      const int64_t cols = w.padded_cols - k < group ? w.padded_cols - k : group;
      const std::byte* codes = w.row_scaled() ? w.codes(p, 0) + w.code_bytes(k) : w.codes(p, g);
      I sums[panel_vectors];
      if (w.format == WeightFormat::int8)
        Gemv::dot_int8(codes, x.codes + k, cols, sums);
      else
        Gemv::dot_int4(codes, x.codes + k, cols, sums);
      const GroupHeader header(w, p, g);
      const F x_scale = splat(x.scales[g]);
#pragma GCC unroll 8
      for (int v = 0; v < panel_vectors; ++v)
        total[v] = scaled(total[v], sums[v], shift_of(header, v * lanes, offset, x.sums[g]), header.scale(v * lanes), x_scale);
    }
#pragma GCC unroll 8
    for (int v = 0; v < panel_vectors; ++v) store(y + p * panel_rows + v * lanes, total[v]);
  }
}

// Splits M into equal blocks of at most block_rows.
inline int64_t rows_of_block(int64_t rows) {
  const int64_t blocks = (rows + block_rows - 1) / block_rows;
  return (rows + blocks - 1) / blocks;
}

// sums[m][v] += Σ over `steps` of w[step][v] · x[m][step], by `dot`.
template <class Dot, int tile, class Sum>
inline void dot_tile(const typename Dot::Weight* w, const typename Dot::Input* x, int64_t x_stride, int64_t steps,
                     Sum (&sums)[tile][Dot::vectors]) {
  constexpr int64_t line = lanes * Dot::step;  // elements of one register of weights
  for (int64_t s = 0; s < steps; ++s) {
    typename Dot::Line lines[Dot::vectors];
#pragma GCC unroll 8
    for (int v = 0; v < Dot::vectors; ++v) lines[v] = Dot::load_line(w + (s * Dot::vectors + v) * line);
#pragma GCC unroll 8
    for (int m = 0; m < tile; ++m) {
      const typename Dot::Line input = Dot::broadcast(x + m * x_stride + s * Dot::step);
#pragma GCC unroll 8
      for (int v = 0; v < Dot::vectors; ++v) sums[m][v] = Dot::dot(sums[m][v], lines[v], input);
    }
  }
}

// Calls work.template operator()<tile>(m) for tiles of rows that cover [0, rows).
template <class Work>
inline void for_tiles(int64_t rows, Work work) {
  int64_t m = 0;
  for (; m + tile_rows <= rows; m += tile_rows) work.template operator()<tile_rows>(m);
  switch (rows - m) {
    case 1: return work.template operator()<1>(m);
    case 2: return work.template operator()<2>(m);
    case 3: return work.template operator()<3>(m);
    case 4: return work.template operator()<4>(m);
    case 5: return work.template operator()<5>(m);
  }
}

// A block of rows of x, and what is known of their products with one panel so far.
template <class Dot>
struct QuantizedBlock {
  const PackedWeight& w;
  const QuantizedRows& x;
  int64_t group;      // inputs that share both scales
  int64_t groups;     // of a row of x
  int64_t m0, rows;   // the block's rows of x
  alignas(64) typename Dot::Weight unpacked[panel_rows * block_cols];
  alignas(64) typename Dot::Input inputs[block_rows * block_cols];
  alignas(64) int32_t partial[block_rows * panel_rows];  // a group's sums
  alignas(64) float totals[block_rows * panel_rows];

  QuantizedBlock(const PackedWeight& weight, const QuantizedRows& rows_of_x)
      : w(weight), x(rows_of_x), group(weight.row_scaled() ? rows_of_x.group_size : weight.group_size), groups(rows_of_x.groups()) {}

  // The products of columns [k0, k0 + cols) of panel p.
  void multiply(int64_t p, int64_t k0, int64_t cols) {
    const int64_t weight_group = w.group_size;
    for (int64_t k = k0; k < k0 + cols;) {  // the stream has headers between groups
      const int64_t g = k / weight_group, in_group = k - g * weight_group;
      const int64_t piece = min_of(weight_group - in_group, k0 + cols - k);
      Dot::unpack(w.format, w.codes(p, g) + w.code_bytes(in_group), piece, unpacked, k - k0);
      k += piece;
    }
    for (int64_t m = 0; m < rows; ++m)
      Dot::load_inputs(x.codes + (m0 + m) * x.cols + k0, cols, inputs + m * block_cols);
    constexpr int64_t strip = Dot::vectors * lanes;  // rows of the panel in a register tile
    for (int64_t row = 0; row < panel_rows; row += strip)
      for_tiles(rows, [&]<int tile>(int64_t m) { multiply_tile<tile>(p, k0, cols, row, m); });
  }

  template <int tile>
  void multiply_tile(int64_t p, int64_t k0, int64_t cols, int64_t row, int64_t m) {
    constexpr int64_t longest = Dot::narrow_steps ? Dot::narrow_steps * Dot::step : block_cols;
    const auto* strip = unpacked + row * block_cols;
    int32_t* const sums = partial + m * panel_rows + row;
    for (int64_t k = k0; k < k0 + cols;) {
      const int64_t g = k / group, group_begin = g * group;
      const int64_t group_end = min_of(group_begin + group, w.padded_cols);
      const int64_t end = min_of(min_of(group_end, k0 + cols), k + longest);
      add_products<tile>(strip + (k - k0) * Dot::vectors * lanes, inputs + m * block_cols + (k - k0), (end - k) / Dot::step,
                         k == group_begin, sums);
      if (end == group_end) {
        if (w.has_zero_points)
          scale_tile<tile, true>(p, g, row, m);
        else
          scale_tile<tile, false>(p, g, row, m);
      }
      k = end;
    }
  }

  // sums[tile, panel_rows] += products of `steps`. A function of its own, so that all registers are its own.
  template <int tile>
  [[gnu::noinline, gnu::flatten]] static void add_products(const typename Dot::Weight* weights,
                                                           const typename Dot::Input* input, int64_t steps, bool first,
                                                           int32_t* sums) {
    typename Dot::Sum products[tile][Dot::vectors];
#pragma GCC unroll 8
    for (int i = 0; i < tile; ++i)
#pragma GCC unroll 8
      for (int v = 0; v < Dot::vectors; ++v) products[i][v] = Dot::zero();
    dot_tile<Dot, tile>(weights, input, block_cols, steps, products);
#pragma GCC unroll 8
    for (int i = 0; i < tile; ++i)
#pragma GCC unroll 8
      for (int v = 0; v < Dot::vectors; ++v) {
        int32_t* sum = sums + i * panel_rows + v * lanes;
        store_int(sum, Dot::collect(first ? zero_int() : load_int(sum), products[i][v]));
      }
  }

  // totals += float(sums) · scales of group g.
  template <int tile, bool zero_points>
  void scale_tile(int64_t p, int64_t g, int64_t row, int64_t m) {
    const GroupHeader header(w, p, g);
    F scale[Dot::vectors];
    I zero_point[Dot::vectors];
#pragma GCC unroll 8
    for (int v = 0; v < Dot::vectors; ++v) {
      scale[v] = header.scale(row + v * lanes);
      if constexpr (zero_points) zero_point[v] = header.zero_point(row + v * lanes);
    }
#pragma GCC unroll 8
    for (int i = 0; i < tile; ++i) {
      const int64_t at = (m0 + m + i) * groups + g;
      const F x_scale = splat(x.scales[at]);
      const I shift = splat_int(Dot::offset * x.sums[at]), x_sum = splat_int(x.sums[at]);
#pragma GCC unroll 8
      for (int v = 0; v < Dot::vectors; ++v) {
        const int64_t place = (m + i) * panel_rows + row + v * lanes;
        const I whole_shift = zero_points ? shift + zero_point[v] * x_sum : shift;
        store(totals + place, scaled(load(totals + place), load_int(partial + place), whole_shift, scale[v], x_scale));
      }
    }
  }
};

template <class Dot>
void multiply_rows_quantized(const PackedWeight& w, const QuantizedRows& x, Range panels, MatmulOutput y) {
  QuantizedBlock<Dot> block(w, x);
  const int64_t step = rows_of_block(x.rows);
  for (int64_t p = panels.begin; p < panels.end; ++p)
    for (block.m0 = 0; block.m0 < x.rows; block.m0 += step) {
      block.rows = min_of(step, x.rows - block.m0);
      __builtin_memset(block.totals, 0, static_cast<size_t>(block.rows * panel_rows) * sizeof(float));
      for (int64_t k = 0; k < w.padded_cols; k += block_cols)
        block.multiply(p, k, min_of(block_cols, w.padded_cols - k));
      for (int64_t m = 0; m < block.rows; ++m)
        for (int64_t row = 0; row < panel_rows; row += lanes)
          store(y.values + (block.m0 + m) * y.stride + p * panel_rows + row, load(block.totals + m * panel_rows + row));
    }
}

[[gnu::flatten]] void matmul_quantized(const PackedWeight& w, const QuantizedRows& x, Range panels, MatmulOutput y) {
  if (x.rows == 1) return multiply_row_quantized(w, x, panels, y.values);
  if (w.format == WeightFormat::int4) return multiply_rows_quantized<GemmInt4>(w, x, panels, y);
  multiply_rows_quantized<Gemm>(w, x, panels, y);
}

[[gnu::flatten]] void scale_sums(const PackedWeight& w, const QuantizedRows& x, int64_t panel, const int32_t* sums,
                                 int64_t sums_stride, MatmulOutput y) {
  const GroupHeader header(w, panel, 0);
  for (int64_t m = 0; m < x.rows; ++m)
    for (int64_t row = 0; row < panel_rows; row += lanes)
      store(y.values + m * y.stride + panel * panel_rows + row,
            scaled(splat(0), load_int(sums + m * sums_stride + row), shift_of(header, row, 0, x.sums[m]), header.scale(row),
                   splat(x.scales[m])));
}

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

struct FloatDot {
  using Weight = float;
  using Input = float;
  using Line = F;
  using Sum = F;
  static constexpr int step = 1;
  static constexpr int vectors = Gemm::vectors;
  static F load_line(const float* p) { return load(p); }
  static F broadcast(const float* p) { return splat(*p); }
  static F dot(F sum, F weights, F input) { return fma(weights, input, sum); }
};

template <class Stored>
void multiply_rows_float(const PackedWeight& w, const FloatRows& x, Range panels, MatmulOutput y) {
  constexpr int64_t columns = 128;
  constexpr int64_t strip = FloatDot::vectors * lanes;
  alignas(64) float unpacked[panel_rows * columns];
  alignas(64) float totals[block_rows * panel_rows];
  const int64_t step = rows_of_block(x.rows);
  for (int64_t p = panels.begin; p < panels.end; ++p) {
    const auto* codes = reinterpret_cast<const typename Stored::Element*>(w.panels.data() + p * w.panel_bytes);
    for (int64_t m0 = 0; m0 < x.rows; m0 += step) {
      const int64_t rows = min_of(step, x.rows - m0);
      for (int64_t k0 = 0; k0 < w.cols; k0 += columns) {
        const int64_t cols = min_of(columns, w.cols - k0);
        for (int64_t k = 0; k < cols; ++k)
          for (int64_t row = 0; row < panel_rows; row += lanes)
            store(unpacked + (row / strip * columns + k) * strip + row % strip,
                  Stored::load_vector(codes + (k0 + k) * panel_rows + row));
        for (int64_t row = 0; row < panel_rows; row += strip)
          for_tiles(rows, [&]<int tile>(int64_t m) {
            float* total = totals + m * panel_rows + row;
            F sums[tile][FloatDot::vectors];
#pragma GCC unroll 8
            for (int i = 0; i < tile; ++i)
#pragma GCC unroll 8
              for (int v = 0; v < FloatDot::vectors; ++v)
                sums[i][v] = k0 == 0 ? splat(0) : load(total + i * panel_rows + v * lanes);
            dot_tile<FloatDot, tile>(unpacked + row * columns, x.values + (m0 + m) * x.stride + k0, x.stride, cols, sums);
#pragma GCC unroll 8
            for (int i = 0; i < tile; ++i)
#pragma GCC unroll 8
              for (int v = 0; v < FloatDot::vectors; ++v) store(total + i * panel_rows + v * lanes, sums[i][v]);
          });
      }
      for (int64_t m = 0; m < rows; ++m)
        for (int64_t row = 0; row < panel_rows; row += lanes)
          store(y.values + (m0 + m) * y.stride + p * panel_rows + row, load(totals + m * panel_rows + row));
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
