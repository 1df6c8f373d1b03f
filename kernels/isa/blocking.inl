// Sizes of the prefill kernels' blocks, chosen so that an unpacked block and the rows that use it stay in L2.

constexpr int tile_rows = 6;                     // rows of x in a register tile
constexpr int64_t block_cols = 256;              // inputs unpacked at once
constexpr int64_t block_rows = 22 * tile_rows;   // rows of x that share an unpacked block

inline int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }
