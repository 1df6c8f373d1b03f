// How the kernels meet the caches. The prefill kernels' blocks are chosen so that an unpacked block and the rows that use
// it stay in L2.

constexpr int tile_rows = 6;                     // rows of x in a register tile
constexpr int64_t block_cols = 256;              // inputs unpacked at once
constexpr int64_t block_rows = 22 * tile_rows;   // rows of x that share an unpacked block

// Panels are read once, in one linear stream. Asking for it this far ahead hides what the hardware's prefetcher leaves (it
// stops at every 4 KB page).
constexpr int64_t prefetch_distance = 1024;
template <int bytes>
inline void prefetch_stream(const std::byte* at) {
#pragma GCC unroll 4
  for (int line = 0; line < bytes; line += 64) __builtin_prefetch(at + prefetch_distance + line);
}

inline int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }
