// How the kernels meet the caches.

// Rows of x that share a block of weights: the block, and the rows that use it, stay in L2.
constexpr int64_t block_rows = 132;

// Panels are read once, in one linear stream. Asking for it this far ahead hides what the hardware's prefetcher leaves (it
// stops at every 4 KB page).
constexpr int64_t prefetch_distance = 1024;
template <int bytes>
inline void prefetch_stream(const std::byte* at) {
#pragma GCC unroll 4
  for (int line = 0; line < bytes; line += 64) __builtin_prefetch(at + prefetch_distance + line);
}

inline int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }

// Splits M into equal blocks of at most block_rows.
inline int64_t rows_of_block(int64_t rows) {
  const int64_t blocks = (rows + block_rows - 1) / block_rows;
  return (rows + blocks - 1) / blocks;
}

// Calls work.template operator()<rows>(m) for register tiles of at most `most` rows that cover [0, rows).
template <int most, class Work>
inline void for_tiles(int64_t rows, Work work) {
  static_assert(most <= 6);
  int64_t m = 0;
  for (; m + most <= rows; m += most) work.template operator()<most>(m);
  switch (rows - m) {
    case 1: return work.template operator()<1>(m);
    case 2: return work.template operator()<most < 2 ? 1 : 2>(m);
    case 3: return work.template operator()<most < 3 ? 1 : 3>(m);
    case 4: return work.template operator()<most < 4 ? 1 : 4>(m);
    case 5: return work.template operator()<most < 5 ? 1 : 5>(m);
  }
}
