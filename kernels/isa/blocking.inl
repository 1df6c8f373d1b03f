// How the matrix products meet the caches and the registers.

constexpr int panel_vectors = static_cast<int>(panel_rows) / lanes;

// Rows of x that share a block of weights: the block, and the rows that use it, stay in L2.
constexpr int64_t block_rows = 132;

// Panels are read once, in one linear stream. Asking for it `distance` bytes ahead hides what the hardware's
// prefetcher leaves; 0 asks for nothing.
template <int bytes>
inline void prefetch_stream(const std::byte* at, int64_t distance = prefetch_distance) {
  if (distance > 0)
#pragma GCC unroll 20
    for (int line = 0; line < bytes; line += 64) __builtin_prefetch(at + distance + line);
}

constexpr int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }

// How the codes of four inputs lie: a byte each, or as nibbles, four inputs in the low and the next four in
// the high halves, or as narrow_codes.inl has them.
enum class Codes { bytes, nibbles, narrow };

// Memory to ask for during a loop, so many bytes at every turn: a burst of requests would stop the loop until
// all are under way.
struct Ahead {
  const std::byte* at = nullptr;
  int64_t bytes_a_turn = 0;
  const std::byte* end = at;

  [[gnu::always_inline]] void turn() {
    for (end += bytes_a_turn; at < end; at += 64) __builtin_prefetch(at);
  }
};

// Splits M into equal blocks of at most block_rows.
inline int64_t rows_of_block(int64_t rows) {
  const int64_t blocks = (rows + block_rows - 1) / block_rows;
  return (rows + blocks - 1) / blocks;
}

// One panel's finished block of rows to where they belong: y is its first output of the first row.
inline void store_block(const float* totals, int64_t rows, float* y, int64_t y_stride) {
  for (int64_t m = 0; m < rows; ++m)
    for (int64_t row = 0; row < panel_rows; row += lanes)
      store(y + m * y_stride + row, load(totals + m * panel_rows + row));
}

// How many of the tiles below there are.
template <int most>
constexpr int64_t tiles_of(int64_t rows) {
  return (rows + most - 1) / most;
}

// Calls work.template operator()<rows>(m) for register tiles of at most `most` rows that cover [0, rows). The
// last two are of like size: a small one's chains of sums are too few to keep the multipliers busy.
template <int most, class Work>
inline void for_tiles(int64_t rows, Work work) {
  static_assert(most <= 6);
  // Tiles larger than `most` never come; their cases must not make kernels for them.
  const auto tile_at = [&]<int tile>(int64_t m) {
    if constexpr (tile <= most) work.template operator()<tile>(m);
  };
  int64_t m = 0;
  for (; rows - m >= 2 * most; m += most) work.template operator()<most>(m);
  for (int64_t tile = rows - m > most ? (rows - m + 1) / 2 : rows - m; m < rows; m += tile, tile = rows - m)
    switch (tile) {
      case 1: tile_at.template operator()<1>(m); break;
      case 2: tile_at.template operator()<2>(m); break;
      case 3: tile_at.template operator()<3>(m); break;
      case 4: tile_at.template operator()<4>(m); break;
      case 5: tile_at.template operator()<5>(m); break;
      case 6: tile_at.template operator()<6>(m); break;
    }
}
