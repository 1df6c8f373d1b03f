// Matrix products over packed panels of codes. Included like elementwise.inl, after the instruction set's
// `Int8Dot`, `Int6Dot`, `Int5Dot` and `Int4Dot`: how a register of codes (four inputs of each of some rows of
// the weight) is multiplied by four inputs of x; and after dot_row.inl and what reads sparse panels.
//
// One row (decode) goes straight over the packed stream: memory is the limit. Several rows share a block of
// it in cache; arithmetic is the limit. Both sum integers exactly within a group and share `scaled`, so that
// they agree in every bit.

// Scale, zero point and their products with one group's integer sums, for the vector of rows at `row` of a
// panel.
struct GroupHeader {
  const std::byte* bytes;
  bool f16_scales, has_zero_points;
  GroupHeader(const PackedWeight& w, const std::byte* at)
      : bytes(at), f16_scales(w.f16_scales), has_zero_points(w.has_zero_points) {}
  GroupHeader(const PackedWeight& w, int64_t panel, int64_t group)
      : GroupHeader(w, w.header(panel, w.row_scaled() ? 0 : group)) {}

  F scale(int64_t row) const {
    return f16_scales ? load_f16(reinterpret_cast<const uint16_t*>(bytes) + row)
                      : load(reinterpret_cast<const float*>(bytes) + row);
  }
  I zero_point(int64_t row) const {
    return load_int8_as_int(reinterpret_cast<const int8_t*>(bytes) + panel_rows * (f16_scales ? 2 : 4) + row);
  }
};

// total + float(Σ (code − zero_point) · x) · (weight scale · activation scale). `shift` is Σ x times what the
// instruction added to every code and what the zero point takes off.
inline F scaled(F total, I sum, I shift, F scale, F x_scale) {
  return fma(to_float(sum - shift), scale * x_scale, total);
}

// offset · x_sum, and the zero points' part where there are any.
inline I shift_of(const GroupHeader& header, int64_t row, int32_t offset, int32_t x_sum) {
  const I shift = splat_int(offset * x_sum);
  return header.has_zero_points ? shift + header.zero_point(row) * splat_int(x_sum) : shift;
}

void multiply_row_quantized(const PackedWeight& w, const QuantizedRows& x, Range panels, float* y) {
  const bool sparse = w.packing != Packing::dense, row_scaled = w.row_scaled(),
             int8 = w.format == WeightFormat::int8 && !sparse;
  const int64_t group = row_scaled ? x.group_size : w.group_size,
                header_bytes = row_scaled ? 0 : w.header_bytes();
  const DotRow dot_row = sparse ? sparse_dot_row(w.format, w.packing) : dot_row_of(w.format);
  const int32_t offset = int8 ? Int8Dot::offset : dot_row.offset;
  for (int64_t p = panels.begin; p < panels.end; ++p) {
    const std::byte* stream = w.panel(p);
    F total[panel_vectors];
#pragma GCC unroll 16
    for (int v = 0; v < panel_vectors; ++v) total[v] = splat(0);
    for (int64_t g = 0, k = 0; k < w.padded_cols; ++g, k += group) {
      const GroupHeader header(w, row_scaled ? w.header(p, 0) : stream);
      const std::byte* codes = stream + header_bytes;
      const int64_t cols = min_of(group, w.padded_cols - k);
      I sums[panel_vectors];
      if (int8)
        stream = dot_row_int8(codes, x.codes + k, cols, sums);
      else
        stream = dot_row.dot(codes, x.codes + k, cols, sums);
      const F x_scale = splat(x.scales[g]);
#pragma GCC unroll 16
      for (int v = 0; v < panel_vectors; ++v)
        total[v] = scaled(total[v], sums[v], shift_of(header, v * lanes, offset, x.sums[g]),
                          header.scale(v * lanes), x_scale);
    }
#pragma GCC unroll 16
    for (int v = 0; v < panel_vectors; ++v) store(y + p * panel_rows + v * lanes, total[v]);
  }
}

// Nibbles of `cols` inputs of a panel to bytes in the order of INT8 panels.
inline void unpack_nibbles(const std::byte* codes, int64_t cols, std::byte* bytes) {
  for (int64_t k = 0; k < cols; k += 8, codes += 256, bytes += 512)
    for (int i = 0; i < 256; ++i) {
      bytes[i] = codes[i] & std::byte{15};
      bytes[256 + i] = codes[i] >> 4;
    }
}

template <class Stored>
inline void unpack_lines(const std::byte* codes, int64_t cols, std::byte* bytes) {
  for (int64_t k = 0; k < cols; k += 4 * Stored::lines, codes += 256 * Stored::stored)
    for (int v = 0; v < panel_vectors; ++v) {
      ByteShifts line[Stored::lines];
      Stored::unpack(codes + v * 4 * lanes, line);
#pragma GCC unroll 8
      for (int i = 0; i < Stored::lines; ++i)
        store_bytes(bytes + 64 * k + 256 * i + v * 4 * lanes, __builtin_bit_cast(Bytes, line[i]));
    }
}

template <class Dot>
inline void unpack_codes(const std::byte* codes, int64_t cols, std::byte* bytes) {
  if constexpr (Dot::stored == Codes::nibbles)
    unpack_nibbles(codes, cols, bytes);
  else if constexpr (Dot::stored == Codes::narrow)
    unpack_lines<typename Dot::Stored>(codes, cols, bytes);
}

// sum + four inputs by their codes, in a tile of several rows of x.
template <class Dot>
[[gnu::always_inline]] inline typename Dot::Sum add_products_in_tile(typename Dot::Sum sum,
                                                                     const typename Dot::Line& line,
                                                                     const Bytes& input) {
  if constexpr (requires { Dot::dot_in_tile(sum, line, input); })
    return Dot::dot_in_tile(sum, line, input);
  else
    return Dot::dot(sum, line, input);
}

// The first products of a sum: by an instruction of their own where adding them to zero would take one more.
template <class Dot>
[[gnu::always_inline]] inline typename Dot::Sum first_products(const typename Dot::Line& line,
                                                               const Bytes& input) {
  if constexpr (requires { Dot::start(line, input); })
    return Dot::start(line, input);
  else
    return add_products_in_tile<Dot>(Dot::zero(), line, input);
}

// products[tile] (+)= one step: four inputs of each row of x by their codes, which are the `half`th of two
// steps' at `codes`.
template <class Dot, int tile, Codes stored, bool start>
[[gnu::always_inline]] inline void add_step(const std::byte* codes, int half, const int8_t* x,
                                            int64_t x_stride,
                                            typename Dot::Sum (&products)[tile][Dot::vectors]) {
  typename Dot::Line lines[Dot::vectors];
#pragma GCC unroll 8
  for (int v = 0; v < Dot::vectors; ++v) {
    const std::byte* at = codes + v * 4 * lanes;
    if constexpr (stored == Codes::nibbles)
      lines[v] = half ? high_nibbles(load_bytes(at)) : low_nibbles(load_bytes(at));
    else
      lines[v] = Dot::line(at + half * 256);
  }
#pragma GCC unroll 8
  for (int i = 0; i < tile; ++i) {
    const Bytes input = splat_dword(x + i * x_stride + half * 4);
#pragma GCC unroll 8
    for (int v = 0; v < Dot::vectors; ++v)
      products[i][v] = start ? first_products<Dot>(lines[v], input)
                             : add_products_in_tile<Dot>(products[i][v], lines[v], input);
  }
}

// What turns the sums of a group into outputs of a block's rows: the scales of a panel's and of x's, of which
// the next row's are `stride` further.
struct GroupScales {
  GroupHeader header;
  int64_t row;  // the first of the panel's rows in the tile
  const float* x_scales;
  const int32_t* x_sums;  // of x's codes in the group
  int64_t stride;
};

// The place of register v of row i in the sums and totals of a tile.
constexpr int64_t place_of(int i, int v) { return i * panel_rows + v * lanes; }

// Whether the sums of a tile go into its totals from the registers that they are in. Sixteen registers hold
// no more than sums.
constexpr bool scales_from_registers = lanes == 16;

// totals[tile, panel_rows] += float(sums + products) · scales, for rows from m on; the sums count as zeros in
// the `first` pass over a group, the products where sums hold them already.
template <class Dot, int tile, bool zero_points, bool in_sums>
[[gnu::always_inline]] inline void add_scaled(const typename Dot::Sum (&products)[tile][Dot::vectors],
                                              bool first, const int32_t* sums, const GroupScales& scales,
                                              int64_t m, float* totals) {
  F scale[Dot::vectors];
  I zero_point[Dot::vectors];
#pragma GCC unroll 8
  for (int v = 0; v < Dot::vectors; ++v) {
    scale[v] = scales.header.scale(scales.row + v * lanes);
    if constexpr (zero_points) zero_point[v] = scales.header.zero_point(scales.row + v * lanes);
  }
#pragma GCC unroll 8
  for (int i = 0; i < tile; ++i) {
    const int64_t at = (m + i) * scales.stride;
    const F x_scale = splat(scales.x_scales[at]);
    const I shift = splat_int(Dot::offset * scales.x_sums[at]), x_sum = splat_int(scales.x_sums[at]);
#pragma GCC unroll 8
    for (int v = 0; v < Dot::vectors; ++v) {
      I sum;
      if constexpr (in_sums)
        sum = load_int(sums + place_of(i, v));
      else
        sum = Dot::collect(first ? zero_int() : load_int(sums + place_of(i, v)), products[i][v]);
      const I whole_shift = zero_points ? shift + zero_point[v] * x_sum : shift;
      store(totals + place_of(i, v),
            scaled(load(totals + place_of(i, v)), sum, whole_shift, scale[v], x_scale));
    }
  }
}

// sums[tile, panel_rows] (+)= products of `steps` of four inputs, an even number: the inputs of a group are a
// multiple of 8. With the last steps of a group come its scales: its sums then go into the totals. A function
// of its own, too.
template <class Dot, int tile, Codes stored, bool streamed>
[[gnu::noinline, gnu::flatten]] void add_products(const std::byte* codes, const int8_t* x, int64_t x_stride,
                                                  int64_t steps, bool first, int32_t* sums,
                                                  const Ahead* from_memory, const GroupScales* scales,
                                                  int64_t m, float* totals) {
  constexpr int64_t two_steps = stored == Codes::nibbles ? 256 : 512;  // bytes of codes
  Ahead ahead;
  if constexpr (streamed) ahead = *from_memory;
  for (int64_t s = 0; s < steps; first = false) {
    typename Dot::Sum products[tile][Dot::vectors];
    const int64_t end = min_of(steps, s + Dot::most_steps);
    if constexpr (streamed) ahead.turn();
    add_step<Dot, tile, stored, true>(codes, 0, x, x_stride, products);
    add_step<Dot, tile, stored, false>(codes, 1, x, x_stride, products);
    for (s += 2, codes += two_steps, x += 8; s < end; s += 2, codes += two_steps, x += 8) {
      if constexpr (streamed) ahead.turn();
      add_step<Dot, tile, stored, false>(codes, 0, x, x_stride, products);
      add_step<Dot, tile, stored, false>(codes, 1, x, x_stride, products);
    }
    if (scales_from_registers && s == steps && scales) {
      if (scales->header.has_zero_points)
        add_scaled<Dot, tile, true, false>(products, first, sums, *scales, m, totals);
      else
        add_scaled<Dot, tile, false, false>(products, first, sums, *scales, m, totals);
      return;
    }
#pragma GCC unroll 8
    for (int i = 0; i < tile; ++i)
#pragma GCC unroll 8
      for (int v = 0; v < Dot::vectors; ++v) {
        int32_t* sum = sums + place_of(i, v);
        store_int(sum, Dot::collect(first ? zero_int() : load_int(sum), products[i][v]));
      }
  }
}

// totals[tile, panel_rows] += float(sums) · scales.
template <class Dot, int tile>
[[gnu::always_inline]] inline void add_sums(const int32_t* sums, const GroupScales& scales, int64_t m,
                                            float* totals) {
  const typename Dot::Sum none[tile][Dot::vectors] = {};
  if (scales.header.has_zero_points)
    add_scaled<Dot, tile, true, true>(none, false, sums, scales, m, totals);
  else
    add_scaled<Dot, tile, false, true>(none, false, sums, scales, m, totals);
}

// With so few rows a block of weights is used up about as fast as memory brings the next.
constexpr int64_t streamed_rows = 32;

// A block of rows of x, and what is known of their products with some panels so far.
template <class Dot>
struct QuantizedBlock {
  // Inputs that go through all rows before the next do: so many that their weights stay in L1, beside the
  // next ones where those come from memory.
  static constexpr int64_t most_cols = 256, streamed_cols = 128;
  // Panels that inputs are copied for once, unless panels come from memory, one by one.
  static constexpr int64_t most_panels = 2;
  static constexpr bool has_slots = requires { typename Dot::Slots; };

  const PackedWeight& w;
  const QuantizedRows& x;
  int64_t group;                                            // inputs that share both scales
  int64_t groups;                                           // of a row of x
  bool slots;                                               // whether sparse panels are read as they lie
  int64_t m0 = 0, rows = 0;                                 // the block's rows of x
  alignas(64) std::byte bytes[panel_rows * most_cols];      // codes unpacked
  alignas(64) std::byte unpacked[panel_rows * most_cols];   // a sparse panel made dense, or its places
  alignas(64) int8_t inputs[(block_rows + 1) * most_cols];  // and a row of zeros
  struct Products {
    alignas(64) int32_t partial[(block_rows + 1) * panel_rows];  // a group's sums
    alignas(64) float totals[block_rows * panel_rows];
    const std::byte* header;  // of the group's or the panel's rows
    const std::byte* sparse;  // where the next codes of a sparse panel begin
  } products[most_panels];

  // Some inputs' codes as dense panels have them, and those of the next ones as they lie in memory: about as
  // many as these took there.
  struct StoredCodes {
    const std::byte* codes;
    int64_t size;
    const std::byte* next;
    int64_t next_size;

    // Of inputs [begin, end) of all.
    StoredCodes part(int64_t begin, int64_t end, int64_t all) const {
      const int64_t count = end - begin;
      return {codes + size * begin / all, size * count / all, next + next_size * begin / all,
              next_size * count / all};
    }
  };

  QuantizedBlock(const PackedWeight& weight, const QuantizedRows& rows_of_x)
      : w(weight),
        x(rows_of_x),
        group(weight.row_scaled() ? rows_of_x.group_size : weight.group_size),
        groups(rows_of_x.groups()),
        slots(reads_slots()) {}

  bool reads_slots() const {
    if constexpr (has_slots)
      return w.packing != Packing::dense && w.packing != Packing::masked && group % 16 == 0 &&
             x.rows <= Dot::Slots::most_rows;
    return false;
  }

  // products[i].totals = the block · panel i, for at most `most_panels` panels.
  void multiply_panels(Range panels) {
    for (int64_t i = 0; i < panels.size(); ++i) {
      __builtin_memset(products[i].totals, 0, static_cast<size_t>(rows * panel_rows) * sizeof(float));
      products[i].sparse = w.panel(panels.begin + i);
    }
    const int64_t step = rows <= streamed_rows ? streamed_cols : most_cols;
    for (int64_t k = 0; k < w.padded_cols; k += step) {
      const int64_t end = min_of(k + step, w.padded_cols);
      copy_inputs(k, end);
      for (int64_t i = 0; i < panels.size(); ++i) multiply_inputs(panels.begin + i, k, end, products[i]);
    }
  }

  // Side by side: rows of x that lie a power of two apart would share few sets of the cache.
  void copy_inputs(int64_t begin, int64_t end) {
    for (int64_t m = 0; m < rows; ++m)
      for (int64_t k = begin; k < end; k += cols_block)
        __builtin_memcpy(inputs + m * most_cols + (k - begin), x.codes + (m0 + m) * x.cols + k, cols_block);
    if constexpr (has_slots)
      if (slots) shift_inputs<typename Dot::Slots>();
  }

  // Those that slots are multiplied by, and a row of zeros, which says what the shift adds.
  template <class Slots>
  void shift_inputs() {
    if constexpr (Slots::rows_of_zeros) {
      __builtin_memset(inputs + rows * most_cols, 0, most_cols);
      for (int64_t i = 0; i < (rows + 1) * most_cols; i += 4 * lanes)
        store_bytes(inputs + i, Slots::shifted(load_bytes(inputs + i)));
    }
  }

  // The products of panel p with the copied inputs, [begin, end).
  void multiply_inputs(int64_t p, int64_t begin, int64_t end, Products& to) {
    StoredCodes all{};
    if (w.row_scaled()) {
      to.header = w.header(p, 0);
      all = codes_of(w.codes(p, 0), begin, end, to);
    }
    for (int64_t k = begin; k < end;) {
      const int64_t g = k / group, group_begin = g * group,
                    group_end = min_of(group_begin + group, w.padded_cols), part_end = min_of(end, group_end);
      const bool first = k == group_begin, last = part_end == group_end;
      if (w.row_scaled()) {
        multiply_group(all.part(k - begin, part_end - begin, end - begin), g, part_end - k,
                       inputs + (k - begin), first, last, to);
      } else {
        if (first) begin_group(p, g, to);
        const std::byte* group_codes = to.header + w.header_bytes();
        multiply_group(codes_of(group_codes, k - group_begin, part_end - group_begin, to), g, part_end - k,
                       inputs + (k - begin), first, last, to);
      }
      k = part_end;
    }
  }

  void begin_group(int64_t p, int64_t g, Products& to) {
    to.header = w.packing == Packing::dense || slots ? w.header(p, g) : to.sparse;
    to.sparse = to.header + w.header_bytes();
  }

  // Those of the inputs [begin, end) of a row or group, whose codes begin at `dense_codes`; of a panel that
  // is made dense they are the next.
  StoredCodes codes_of(const std::byte* dense_codes, int64_t begin, int64_t end, Products& to) {
    if (w.packing == Packing::dense || slots) {
      const std::byte* codes = dense_codes + w.code_bytes(begin);
      const int64_t size = w.code_bytes(end - begin);
      return {codes, size, codes + size, size};
    }
    const std::byte* stored = to.sparse;
    to.sparse = expand(w.format, w.packing, stored, end - begin, unpacked);
    return {unpacked, panel_rows * (end - begin) * info(w.format).bits / 8, to.sparse, to.sparse - stored};
  }

  template <class Slots>
  void multiply_slots(const StoredCodes& from, int64_t g, int64_t count, const int8_t* input, bool first,
                      bool last, Products& to) {
    constexpr int64_t few_tiles = 2;
    const bool unpack = rows + Slots::rows_of_zeros > few_tiles * Slots::tile;
    if (w.packing == Packing::two_of_four)
      unpack ? add_all_slots<Slots, Packing::two_of_four, true>(from, count, input, first, to)
             : add_all_slots<Slots, Packing::two_of_four, false>(from, count, input, first, to);
    else
      unpack ? add_all_slots<Slots, Packing::four_of_eight, true>(from, count, input, first, to)
             : add_all_slots<Slots, Packing::four_of_eight, false>(from, count, input, first, to);
    if (!last) return;
    const GroupHeader header(w, to.header);
    for (int64_t row = 0; row < panel_rows; row += lanes) {
      const F scale = header.scale(row);
      const I shift = Slots::rows_of_zeros ? load_int(to.partial + rows * panel_rows + row) : zero_int();
      for (int64_t m = 0; m < rows; ++m) {
        float* total = to.totals + m * panel_rows + row;
        store(total, scaled(load(total), load_int(to.partial + m * panel_rows + row), shift, scale,
                            splat(x.scales[(m0 + m) * groups + g])));
      }
    }
  }

  template <class Slots, Packing packing, bool unpack>
  void add_all_slots(const StoredCodes& from, int64_t count, const int8_t* input, bool first, Products& to) {
    if (unpack) unpack_places<Slots, packing>(from.codes, count, unpacked);
    const int64_t all = rows + Slots::rows_of_zeros, turns = count / 16 * (panel_vectors / Slots::vectors);
    Ahead ahead{from.next,
                rows <= streamed_rows ? from.next_size / (turns * tiles_of<Slots::tile>(all)) + 1 : 0};
    for_tiles<Slots::tile>(all, [&]<int tile>(int64_t m) {
      add_slots<Slots, packing, unpack, tile>(from.codes, unpacked, input + m * most_cols, most_cols, count,
                                              first, to.partial + m * panel_rows, &ahead);
      ahead.end = ahead.at += turns * ahead.bytes_a_turn;
    });
  }

  // Those with `count` inputs of group g; `first` and `last` of its inputs are among them or not.
  void multiply_group(const StoredCodes& from, int64_t g, int64_t count, const int8_t* input, bool first,
                      bool last, Products& to) {
    if constexpr (has_slots)
      if (slots) return multiply_slots<typename Dot::Slots>(from, g, count, input, first, last, to);
    const std::byte* codes = from.codes;
    const bool streamed = rows <= streamed_rows, ask_ahead = streamed && rows >= Dot::fewest_rows_ahead;
    constexpr bool always_unpacked = Dot::stored == Codes::narrow;
    constexpr Codes taken = Dot::unpack_first ? Codes::bytes : Dot::stored;
    constexpr Codes taken_streamed = always_unpacked ? Codes::bytes : Dot::stored;
    if (Dot::unpack_first && (always_unpacked || !streamed)) {
      unpack_codes<Dot>(codes, count, bytes);
      codes = bytes;
    }
    constexpr int64_t strip = Dot::vectors * lanes;  // rows of the panel in a register tile
    const int64_t strip_bytes = from.next_size * strip / panel_rows, steps = count / 4;
    Ahead ahead{from.next, ask_ahead ? strip_bytes / (steps / 2 * tiles_of<Dot::tile>(rows)) + 1 : 0};
    GroupScales scales{GroupHeader(w, to.header), 0, x.scales + m0 * groups + g, x.sums + m0 * groups + g,
                       groups};
    for (; scales.row < panel_rows; scales.row += strip)
      for_tiles<Dot::tile>(rows, [&]<int tile>(int64_t m) {
        constexpr auto add = add_products<Dot, tile, taken, false>,
                       add_streamed = add_products<Dot, tile, taken_streamed, true>;
        int32_t* const sums = to.partial + m * panel_rows + scales.row;
        float* const totals = to.totals + m * panel_rows + scales.row;
        (streamed ? add_streamed : add)(codes + scales.row * 4, input + m * most_cols, most_cols, steps,
                                        first, sums, &ahead,
                                        scales_from_registers && last ? &scales : nullptr, m, totals);
        if (!scales_from_registers && last) add_sums<Dot, tile>(sums, scales, m, totals);
        ahead.end = ahead.at += steps / 2 * ahead.bytes_a_turn;
      });
  }
};

template <class Dot>
void multiply_rows_quantized(const PackedWeight& w, const QuantizedRows& x, Range panels, MatmulOutput y) {
  QuantizedBlock<Dot> block(w, x);
  const int64_t rows = rows_of_block(x.rows), most_panels = x.rows <= streamed_rows ? 1 : block.most_panels;
  for (int64_t p = panels.begin; p < panels.end; p += most_panels)
    for (block.m0 = 0; block.m0 < x.rows; block.m0 += rows) {
      block.rows = min_of(rows, x.rows - block.m0);
      const int64_t count = min_of(most_panels, panels.end - p);
      block.multiply_panels({p, p + count});
      for (int64_t i = 0; i < count; ++i)
        store_block(block.products[i].totals, block.rows,
                    y.values + block.m0 * y.stride + (p + i) * panel_rows, y.stride);
    }
}

// Whether the groups that x has in a row of one scale are such as sparse panels can be read in.
inline bool reads_sparse(const PackedWeight& w, const QuantizedRows& x) {
  return !w.row_scaled() || x.group_size >= w.padded_cols || x.group_size % sparse_block == 0;
}

[[gnu::flatten]] void matmul_quantized(const PackedWeight& w, const QuantizedRows& x, Range panels,
                                       MatmulOutput y) {
  if (x.rows == 1 && (w.packing == Packing::dense || reads_sparse(w, x)))
    return multiply_row_quantized(w, x, panels, y.values);
  if (w.format == WeightFormat::int8) return multiply_rows_quantized<Int8Dot>(w, x, panels, y);
  if (w.format == WeightFormat::int6) return multiply_rows_quantized<Int6Dot>(w, x, panels, y);
  if (w.format == WeightFormat::int5) return multiply_rows_quantized<Int5Dot>(w, x, panels, y);
  multiply_rows_quantized<Int4Dot>(w, x, panels, y);
}

[[gnu::flatten]] void scale_sums(const PackedWeight& w, const QuantizedRows& x, int64_t panel,
                                 const int32_t* sums, int64_t sums_stride, MatmulOutput y) {
  const GroupHeader header(w, panel, 0);
  for (int64_t m = 0; m < x.rows; ++m)
    for (int64_t row = 0; row < panel_rows; row += lanes)
      store(y.values + m * y.stride + panel * panel_rows + row,
            scaled(splat(0), load_int(sums + m * sums_stride + row), shift_of(header, row, 0, x.sums[m]),
                   header.scale(row), splat(x.scales[m])));
}
