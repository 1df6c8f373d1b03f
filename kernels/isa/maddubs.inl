// Exact int8 dot products for CPUs without VNNI, summed through 16 bits. vpmaddubsw adds two products of an
// unsigned and a signed byte and saturates at 32767: see the ways in which that is exact. Included before
// matmul_quantized.inl.

struct Int8Slots;
struct Int4Slots;

// |w| · (x with w's sign): 2 · 128 · 127 = 32512 fits.
struct Int8Dot {
  using Slots = Int8Slots;
  static constexpr Codes stored = Codes::bytes;
  static constexpr bool unpack_first = false;
  static constexpr int tile = int8_tile, vectors = int8_vectors;
  static constexpr int64_t most_steps = 1 << 16;
  static constexpr int32_t offset = 0;
  static constexpr int64_t fewest_rows_ahead = 2;
  struct Line {
    const std::byte* codes;
    Bytes magnitudes;
  };
  using Sum = Bytes;

  static Line line(const std::byte* codes) { return {codes, magnitudes_of(load_bytes(codes))}; }
  static Sum zero() { return Bytes{}; }
  static Sum dot(Sum sum, const Line& w, Bytes x) {
    return multiply_add_signed(sum, w.codes, w.magnitudes, x);
  }
  static I collect(I sum, Sum products) { return sum + I(products); }
};

// nibble · x: sixteen products, 16 · 15 · 127 = 30480, fit into 16 bits together. Half the multiplies of
// INT8.
struct Int4Dot {
  using Slots = Int4Slots;
  static constexpr Codes stored = Codes::nibbles;
  static constexpr bool unpack_first = true;
  static constexpr int tile = int4_tile, vectors = int4_vectors;
  static constexpr int64_t most_steps = 8;
  static constexpr int32_t offset = 8;
  static constexpr int64_t fewest_rows_ahead = 2;
  using Line = Bytes;
  using Sum = Bytes;

  static Line line(const std::byte* codes) { return load_bytes(codes); }
  static Sum zero() { return Bytes{}; }
  static Sum start(Line w, Bytes x) { return multiply_words(w, x); }
  static Sum dot(Sum words, Line w, Bytes x) { return multiply_add_words(words, w, x); }
  static Sum dot_nibbles(Sum words, Bytes line, Bytes low, Bytes high) {
    return multiply_add_nibbles(words, line, low, high);
  }
  static I collect(I sum, Sum words) { return add_pairs(sum, words); }
};

// Unsigned codes of 63 at most: 2 · 63 · 127 = 16002 fits.
struct UnsignedDot {
  static constexpr int tile = int8_tile, vectors = int8_vectors;
  static constexpr int64_t most_steps = 1 << 16;
  static constexpr int64_t fewest_rows_ahead = 2;
  using Line = Bytes;
  using Sum = Bytes;

  static Line line(const std::byte* codes) { return load_bytes(codes); }
  static Sum zero() { return Bytes{}; }
  static Sum dot(Sum sum, Line w, Bytes x) { return multiply_add_unsigned(sum, w, x); }
  static Sum dot_at(Sum sum, Line w, const int8_t* x) { return multiply_add_unsigned_at(sum, w, x); }
  static I collect(I sum, Sum products) { return sum + I(products); }
};

// Slots of sparse rows, of two times four inputs, by the inputs picked for them.
struct SparseInt8Dot {
  static constexpr int code_lines = 2;
  static constexpr int64_t longest = int64_t{1} << 18;
  using Sum = Bytes;

  static Sum zero() { return Bytes{}; }
  static Bytes inputs(const int8_t* x) { return splat_qword(x); }
  static Sum dot(Sum sum, const std::byte* codes, Bytes x) {
    return multiply_add_signed(sum, codes, magnitudes_of(load_bytes(codes)), x);
  }
  static I collect(I sum, Sum products) { return sum + I(products); }
};

// (nibble − 8) · x: 32 products, 32 · 8 · 127 = 32512, fit into 16 bits together; on the way they may wrap.
struct SparseInt4Dot {
  static constexpr int code_lines = 1;
  static constexpr int64_t longest = 128;
  using Sum = Bytes;

  static Sum zero() { return Bytes{}; }
  static Bytes inputs(const int8_t* x) { return splat_qword(x); }
  static Sum dot_nibbles(Sum words, const std::byte* codes, Bytes first, Bytes second) {
    return subtract_eights(multiply_add_nibbles(words, load_bytes(codes), first, second), first, second);
  }
  static I collect(I sum, Sum words) { return add_pairs(sum, words); }
};

// The same for several rows of x.
struct Int8Slots : Int8Dot {
  static constexpr int64_t most_rows = int64_t{1} << 62;
  static constexpr int code_lines = 2, tile = 4;
  static constexpr int64_t longest = int64_t{1} << 18, rows_of_zeros = 0;
  static Line line(const std::byte* codes, int half) { return Int8Dot::line(codes + 256 * half); }
};
// |nibble − 8| · (x with its sign).
struct Int4Slots {
  static constexpr int64_t most_rows = 12;
  static constexpr int code_lines = 1, tile = 4, vectors = int8_vectors;
  static constexpr int64_t longest = SparseInt4Dot::longest, rows_of_zeros = 0;
  struct Line {
    Bytes codes, magnitudes;
  };
  using Sum = Bytes;

  static Sum zero() { return Bytes{}; }
  static Line line(const std::byte* codes, int half) {
    const Bytes both = load_bytes(codes),
                signed_codes = minus_eights(half ? high_nibbles(both) : low_nibbles(both));
    return {signed_codes, magnitudes_of(signed_codes)};
  }
  static Sum dot(Sum words, const Line& w, Bytes x) {
    return multiply_add_words(words, w.magnitudes, with_signs_of(w.codes, x));
  }
  static I collect(I sum, Sum words) { return add_pairs(sum, words); }
};
