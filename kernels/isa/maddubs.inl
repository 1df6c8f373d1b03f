// Exact int8 dot products for CPUs without VNNI, on 8- and 16-bit multiplies. Included before matmul.inl.

struct Gemv {
  static constexpr int32_t int8_offset = 0, int4_offset = 8;
  static constexpr int vectors = static_cast<int>(panel_rows) / lanes;

  static void dot_int8(const std::byte* codes, const int8_t* x, int64_t cols, I (&sums)[vectors]) {
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) sums[v] = zero_int();
    for (int64_t k = 0; k < cols; k += 4, codes += 256) {
      prefetch_stream<256>(codes);
      const Bytes input = splat_dword(x + k);
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v)
        sums[v] = add_pairs(sums[v], multiply_signed_signed(load_bytes(codes + v * 4 * lanes), input));
    }
  }

  static void dot_int4(const std::byte* codes, const int8_t* x, int64_t cols, I (&sums)[vectors]) {
    constexpr int64_t chunk = 32;  // inputs whose products fit into 16 bits together
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) sums[v] = zero_int();
    int64_t k = 0;
    for (; k + chunk <= cols; k += chunk) add_nibbles<chunk>(codes + k / 8 * 256, x + k, sums);
    for (; k < cols; k += 8) add_nibbles<8>(codes + k / 8 * 256, x + k, sums);
  }

  template <int64_t cols>
  static void add_nibbles(const std::byte* codes, const int8_t* x, I (&sums)[vectors]) {
    Bytes words[vectors];
#pragma GCC unroll 4
    for (int64_t k = 0; k < cols; k += 8, codes += 256) {
      prefetch_stream<256>(codes);
      const Bytes low = splat_dword(x + k), high = splat_dword(x + k + 4);
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) {
        const Bytes line = load_bytes(codes + v * 4 * lanes);
        const Bytes pair = add_words(multiply_unsigned_signed(low_nibbles(line), low),
                                     multiply_unsigned_signed(high_nibbles(line), high));
        words[v] = k == 0 ? pair : add_words(words[v], pair);
      }
    }
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) sums[v] = add_pairs(sums[v], words[v]);
  }
};

// Codes and inputs widened to 16 bits once: then one vpmaddwd does a register of products.
struct Gemm {
  using Weight = int16_t;
  using Input = int16_t;
  using Line = Bytes;
  using Sum = I;
  static constexpr int step = 2;
  static constexpr int vectors = gemm_vectors;
  static constexpr int32_t offset = 0;

  static Bytes load_line(const int16_t* p) { return load_bytes(p); }
  static Bytes broadcast(const int16_t* p) { return splat_dword(p); }
  static I dot(I sum, Bytes weights, Bytes input) { return multiply_words(sum, weights, input); }

  // The codes of `cols` inputs of a panel to columns [at, at + cols) of a block: strip by strip of the panel's rows,
  // [block_cols / 2][strip][2].
  static void unpack(WeightFormat format, const std::byte* codes, int64_t cols, int16_t* block, int64_t at) {
    constexpr int64_t strip = vectors * lanes;
    for (int64_t row = 0; row < panel_rows; row += lanes) {
      int16_t* out = block + row / strip * strip * block_cols + at * strip + row % strip * 2;
      const std::byte* in = codes + row * 4;
      if (format == WeightFormat::int8) {
        for (int64_t k = 0; k < cols; k += 4, in += 256, out += 4 * strip) widen(load_bytes(in), out, out + 2 * strip);
      } else {
        for (int64_t k = 0; k < cols; k += 8, in += 256, out += 8 * strip) {
          const Bytes nibbles = load_bytes(in);
          widen(subtract_eight(low_nibbles(nibbles)), out, out + 2 * strip);
          widen(subtract_eight(high_nibbles(nibbles)), out + 4 * strip, out + 6 * strip);
        }
      }
    }
  }

  static void load_inputs(const int8_t* codes, int64_t cols, int16_t* words) {
    constexpr int64_t width = static_cast<int64_t>(sizeof(Bytes)) / 2;
    for (int64_t k = 0; k < cols; k += width) widen_inputs(codes + k, words + k);
  }
};
