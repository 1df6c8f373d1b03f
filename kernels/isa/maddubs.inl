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
    for (int64_t k = 0; k < cols; k += chunk) {
      const int64_t end = k + chunk < cols ? k + chunk : cols;
      Bytes words[vectors] = {};
      for (int64_t i = k; i < end; i += 8, codes += 256) {
        prefetch_stream<256>(codes);
        const Bytes low = splat_dword(x + i), high = splat_dword(x + i + 4);
#pragma GCC unroll 8
        for (int v = 0; v < vectors; ++v) {
          const Bytes line = load_bytes(codes + v * 4 * lanes);
          words[v] = multiply_add_words(words[v], low_nibbles(line), low);
          words[v] = multiply_add_words(words[v], high_nibbles(line), high);
        }
      }
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) sums[v] = add_pairs(sums[v], words[v]);
    }
  }
};

// INT8: codes and inputs widened to 16 bits once; then one vpmaddwd does a register of products.
struct Gemm {
  using Weight = int16_t;
  using Input = int16_t;
  using Line = Bytes;
  using Sum = Bytes;
  static constexpr int step = 2;
  static constexpr int vectors = gemm_vectors;
  static constexpr int64_t narrow_steps = 0;
  static constexpr int32_t offset = 0;

  static Bytes load_line(const int16_t* p) { return load_bytes(p); }
  static Bytes broadcast(const int16_t* p) { return splat_dword(p); }
  static Bytes zero() { return Bytes{}; }
  static Bytes dot(Bytes sum, Bytes weights, Bytes input) { return multiply_add_dwords(sum, weights, input); }
  static I collect(I sum, Bytes products) { return sum + I(products); }

  // The codes of `cols` inputs of a panel to columns [at, at + cols) of a block: strip by strip of the panel's rows,
  // [block_cols / 2][strip][2].
  static void unpack(WeightFormat, const std::byte* codes, int64_t cols, int16_t* block, int64_t at) {
    constexpr int64_t strip = vectors * lanes;
    for (int64_t row = 0; row < panel_rows; row += lanes) {
      int16_t* out = block + row / strip * strip * block_cols + at * strip + row % strip * 2;
      const std::byte* in = codes + row * 4;
      for (int64_t k = 0; k < cols; k += 4, in += 256, out += 4 * strip) widen(load_bytes(in), out, out + 2 * strip);
    }
  }

  static void load_inputs(const int8_t* codes, int64_t cols, int16_t* words) {
    constexpr int64_t width = static_cast<int64_t>(sizeof(Bytes)) / 2;
    for (int64_t k = 0; k < cols; k += width) widen_inputs(codes + k, words + k);
  }
};

// INT4: nibbles as they are times bytes, summed in 16 bits as long as that is exact. Half the multiplies of INT8.
struct GemmInt4 {
  using Weight = uint8_t;
  using Input = int8_t;
  using Line = Bytes;
  using Sum = Bytes;
  static constexpr int step = 4;
  static constexpr int vectors = gemm_vectors;
  static constexpr int64_t narrow_steps = 8;  // what 16 bits hold: see avx2.cpp
  static constexpr int32_t offset = 8;

  static Bytes load_line(const uint8_t* p) { return load_bytes(p); }
  static Bytes broadcast(const int8_t* p) { return splat_dword(p); }
  static Bytes zero() { return Bytes{}; }
  static Bytes dot(Bytes words, Bytes weights, Bytes input) {
    return multiply_add_words(words, weights, input);
  }
  static I collect(I sum, Bytes words) { return add_pairs(sum, words); }

  // As Gemm's, [block_cols / 4][strip][4].
  static void unpack(WeightFormat, const std::byte* codes, int64_t cols, uint8_t* block, int64_t at) {
    constexpr int64_t strip = vectors * lanes;
    for (int64_t row = 0; row < panel_rows; row += lanes) {
      uint8_t* out = block + row / strip * strip * block_cols + at * strip + row % strip * 4;
      const std::byte* in = codes + row * 4;
      for (int64_t k = 0; k < cols; k += 8, in += 256, out += 8 * strip) {
        const Bytes nibbles = load_bytes(in);
        store_bytes(out, low_nibbles(nibbles));
        store_bytes(out + 4 * strip, high_nibbles(nibbles));
      }
    }
  }

  static void load_inputs(const int8_t* codes, int64_t cols, int8_t* inputs) {
    for (int64_t k = 0; k < cols; k += static_cast<int64_t>(sizeof(Bytes))) store_bytes(inputs + k, load_bytes(codes + k));
  }
};
