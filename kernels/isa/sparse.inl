// Sparse panels (sparse_weight.h): one row of x times their codes, and codes made dense. Included after
// dot_row.inl, masked panels' functions, and `SparseInt8Dot` and `SparseInt4Dot`: how the slots of some rows'
// sixteen inputs are multiplied by the inputs of x picked for them.

// The places of `lanes` rows' slots of eight inputs, as shuffles of the eight want them: rows from v · lanes
// on.
template <Packing packing>
[[gnu::always_inline]] inline Bytes slot_places(const std::byte* places, const std::byte* uppers, int v) {
  constexpr int parts = 16 / lanes;
  if constexpr (packing == Packing::two_of_four)
    return places_2_4(places + v / parts * 16, v % parts);
  else
    return places_4_8(places + v / parts * 16, uppers + v / parts * 8, v % parts);
}

// A step of sixteen inputs.
template <class Dot, Packing packing>
struct SparseStep {
  static constexpr int64_t before_codes = packing == Packing::four_of_eight ? 192 : 128,
                           bytes = before_codes + 256 * Dot::code_lines;
  const std::byte* at;
  [[gnu::always_inline]] Bytes places(int half, int v) const {
    return slot_places<packing>(at + half * 64, at + 128 + half * 32, v);
  }
  [[gnu::always_inline]] const std::byte* codes(int v) const { return at + before_codes + v * 4 * lanes; }
};

template <class Dot, Packing packing>
[[gnu::noinline, gnu::flatten]] const std::byte* dot_row_sparse(const std::byte* codes, const int8_t* x,
                                                                int64_t cols, I (&sums)[panel_vectors]) {
  using Step = SparseStep<Dot, packing>;
#pragma GCC unroll 16
  for (int v = 0; v < panel_vectors; ++v) sums[v] = zero_int();
  for (int64_t begin = 0; begin < cols; begin += Dot::longest) {
    const int64_t end = min_of(cols, begin + Dot::longest);
    typename Dot::Sum products[panel_vectors];
#pragma GCC unroll 16
    for (int v = 0; v < panel_vectors; ++v) products[v] = Dot::zero();
    for (int64_t k = begin; k < end; k += 16, codes += Step::bytes) {
      prefetch_stream<Step::bytes>(codes);
      const Step step{codes};
      const Bytes first = Dot::inputs(x + k), second = Dot::inputs(x + k + 8);
      const auto picked = [&](int half, int v) { return pick(half ? second : first, step.places(half, v)); };
      if constexpr (Dot::code_lines == 2) {  // in the order in which they lie
#pragma GCC unroll 16
        for (int v = 0; v < panel_vectors; ++v)
          products[v] = Dot::dot(products[v], step.codes(v), picked(0, v));
#pragma GCC unroll 16
        for (int v = 0; v < panel_vectors; ++v)
          products[v] = Dot::dot(products[v], step.codes(v) + 256, picked(1, v));
      } else {
#pragma GCC unroll 16
        for (int v = 0; v < panel_vectors; ++v)
          products[v] = Dot::dot_nibbles(products[v], step.codes(v), picked(0, v), picked(1, v));
      }
    }
#pragma GCC unroll 16
    for (int v = 0; v < panel_vectors; ++v) sums[v] = Dot::collect(sums[v], products[v]);
  }
  return codes;
}

// The codes of inputs 4 · quarter and on of eight, a byte each, from the slots of some rows and their places.
template <Packing packing, int quarter>
[[gnu::always_inline]] inline Bytes scatter_slots(Bytes slots, Bytes places) {
  constexpr bool halves = packing == Packing::two_of_four;
  const auto part = [&]<int slot>() {
    return keep_equal(repeat_slot<slot>(places), slot_numbers<4 * quarter>(), repeat_slot<slot>(slots));
  };
  constexpr int first = halves ? 2 * quarter : 0;
  Bytes codes = part.template operator()<first>() | part.template operator()<first + 1>();
  if constexpr (!halves) codes = codes | part.template operator()<2>() | part.template operator()<3>();
  return codes;
}

// The codes of eight inputs, int4's in signed nibbles.
template <class Dot, Packing packing>
[[gnu::always_inline]] inline void expand_eight(Bytes slots, Bytes places, std::byte* dense) {
  const Bytes low = scatter_slots<packing, 0>(slots, places), high = scatter_slots<packing, 1>(slots, places);
  if constexpr (Dot::code_lines == 2) {
    store_bytes(dense, low);
    store_bytes(dense + 256, high);
  } else {
    const ByteShifts pairs = __builtin_bit_cast(ByteShifts, low) | __builtin_bit_cast(ByteShifts, high) << 4;
    store_bytes(dense, __builtin_bit_cast(Bytes, pairs ^ byte_mask(0x88)));
  }
}

template <class Dot, Packing packing>
[[gnu::flatten]] const std::byte* expand_steps(const std::byte* codes, int64_t inputs, std::byte* dense) {
  using Step = SparseStep<Dot, packing>;
  for (int64_t k = 0; k < inputs; k += 16, codes += Step::bytes, dense += 512 * Dot::code_lines)
#pragma GCC unroll 16
    for (int v = 0; v < panel_vectors; ++v) {
      const Step step{codes};
      const std::byte* at = step.codes(v);
      Bytes first = load_bytes(at), second = first;
      if constexpr (Dot::code_lines == 2) {
        second = load_bytes(at + 256);
      } else {
        const ByteShifts pairs = __builtin_bit_cast(ByteShifts, first) ^ byte_mask(0x88);
        first = low_nibbles(__builtin_bit_cast(Bytes, pairs));
        second = high_nibbles(__builtin_bit_cast(Bytes, pairs));
      }
      std::byte* const to = dense + v * 4 * lanes;
      expand_eight<Dot, packing>(first, step.places(0, v), to);
      expand_eight<Dot, packing>(second, step.places(1, v), to + 256 * Dot::code_lines);
    }
  return codes;
}

const std::byte* expand(WeightFormat format, Packing packing, const std::byte* codes, int64_t inputs,
                        std::byte* dense) {
  const bool int8 = format == WeightFormat::int8;
  switch (packing) {
    case Packing::two_of_four:
      return int8 ? expand_steps<SparseInt8Dot, Packing::two_of_four>(codes, inputs, dense)
                  : expand_steps<SparseInt4Dot, Packing::two_of_four>(codes, inputs, dense);
    case Packing::four_of_eight:
      return int8 ? expand_steps<SparseInt8Dot, Packing::four_of_eight>(codes, inputs, dense)
                  : expand_steps<SparseInt4Dot, Packing::four_of_eight>(codes, inputs, dense);
    default: return expand_masked(codes, inputs, dense);
  }
}

inline DotRow sparse_dot_row(WeightFormat format, Packing packing) {
  const bool int8 = format == WeightFormat::int8;
  switch (packing) {
    case Packing::two_of_four:
      return {int8 ? dot_row_sparse<SparseInt8Dot, Packing::two_of_four>
                   : dot_row_sparse<SparseInt4Dot, Packing::two_of_four>,
              0};
    case Packing::four_of_eight:
      return {int8 ? dot_row_sparse<SparseInt8Dot, Packing::four_of_eight>
                   : dot_row_sparse<SparseInt4Dot, Packing::four_of_eight>,
              0};
    default: return {dot_row_masked, Int8Dot::offset};
  }
}
