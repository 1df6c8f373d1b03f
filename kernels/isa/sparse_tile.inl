// Several rows of x times 2:4 and 4:8 panels (sparse_weight.h): each row's inputs are picked for the slots as
// for one row (sparse.inl), so that half of the products of dense panels are left. Where slots belong is
// unpacked once for a tile of rows, or, where there are many, for all. Included after sparse.inl.

// places[inputs / 8, panel_rows · 4] of `inputs` inputs, a multiple of 16, as pick() wants them.
template <class Dot, Packing packing>
[[gnu::flatten]] void unpack_places(const std::byte* codes, int64_t inputs, std::byte* places) {
  using Step = SparseStep<Dot, packing>;
  for (int64_t k = 0; k < inputs; k += 16, codes += Step::bytes)
    for (int half = 0; half < 2; ++half, places += 256)
#pragma GCC unroll 16
      for (int v = 0; v < panel_vectors; ++v)
        store_bytes(places + v * 4 * lanes, Step{codes}.places(half, v));
}

// sums[tile, panel_rows] (+)= the products of these inputs; set where they are the `first` ones of a group.
// places: unpacked, or none. Dot: `Int8Slots` or `Int4Slots` of the instruction set; inputs are shifted where
// it has rows of zeros, and beyond its `most_rows` rows of x the panel takes less time as a dense one.
template <class Dot, Packing packing, bool unpacked, int tile>
[[gnu::noinline, gnu::flatten]] void add_slots(const std::byte* codes, const std::byte* places,
                                               const int8_t* x, int64_t x_stride, int64_t inputs, bool first,
                                               int32_t* sums, const Ahead* from_memory) {
  using Step = SparseStep<Dot, packing>;
  Ahead ahead = *from_memory;
  for (int v0 = 0; v0 < panel_vectors; v0 += Dot::vectors)
    for (int64_t begin = 0; begin < inputs; begin += Dot::longest) {
      const int64_t end = min_of(inputs, begin + Dot::longest);
      typename Dot::Sum products[tile][Dot::vectors];
#pragma GCC unroll 8
      for (int i = 0; i < tile; ++i)
#pragma GCC unroll 8
        for (int v = 0; v < Dot::vectors; ++v) products[i][v] = Dot::zero();
      for (int64_t k = begin; k < end; k += 16) {
        ahead.turn();
        const Step step{codes + k / 16 * Step::bytes};
#pragma GCC unroll 2
        for (int half = 0; half < 2; ++half) {
          Bytes of_slots[Dot::vectors];
          typename Dot::Line lines[Dot::vectors];
#pragma GCC unroll 8
          for (int v = 0; v < Dot::vectors; ++v) {
            of_slots[v] = unpacked ? load_bytes(places + (k / 8 + half) * 256 + (v0 + v) * 4 * lanes)
                                   : step.places(half, v0 + v);
            lines[v] = Dot::line(step.codes(v0 + v), half);
          }
#pragma GCC unroll 8
          for (int i = 0; i < tile; ++i) {
            const Bytes input = splat_qword(x + i * x_stride + k + 8 * half);
#pragma GCC unroll 8
            for (int v = 0; v < Dot::vectors; ++v)
              products[i][v] = Dot::dot(products[i][v], lines[v], pick(input, of_slots[v]));
          }
        }
      }
#pragma GCC unroll 8
      for (int i = 0; i < tile; ++i)
#pragma GCC unroll 8
        for (int v = 0; v < Dot::vectors; ++v) {
          int32_t* sum = sums + i * panel_rows + (v0 + v) * lanes;
          store_int(sum, Dot::collect(first && begin == 0 ? zero_int() : load_int(sum), products[i][v]));
        }
    }
}
