// Softmax attention over one head, and the KV cache's writes. Included like elementwise.inl.
//
// Each query's scores, maximum, sum and output are computed in one order from its own range of positions
// alone: a tile shares loads between queries, never sums.

struct KvF32 {
  using Stored = float;
  static F load_row(const Stored* p) { return load(p); }
};
struct KvF16 {
  using Stored = uint16_t;
  static F load_row(const Stored* p) { return load_f16(p); }
};
struct KvInt8 {
  using Stored = int8_t;
  static F load_row(const Stored* p) { return load_int8(p); }
};
// Calls work.template operator()<Kv>().
template <class Work>
inline void with_format(KvFormat format, Work work) {
  switch (format) {
    case KvFormat::f32: return work.template operator()<KvF32>();
    case KvFormat::f16: return work.template operator()<KvF16>();
    case KvFormat::int8: return work.template operator()<KvInt8>();
  }
}

constexpr int64_t query_tile = 4;  // queries that share registers
constexpr int block_vectors = static_cast<int>(kv_block) / lanes;

// scores[q][position] of `blocks` blocks from `position` on, without the key's scale. Each score is a chain
// of multiply-adds in order of d: several blocks at once keep the multipliers busy.
template <class Kv, int tile, int blocks>
inline void score_blocks(const KvHead& head, const Query* queries, int64_t position, float* scores,
                         int64_t stride) {
  const auto* keys = reinterpret_cast<const typename Kv::Stored*>(head.keys) + position * head.head_dim;
  F sums[tile][blocks * block_vectors];
#pragma GCC unroll 8
  for (int q = 0; q < tile; ++q)
#pragma GCC unroll 8
    for (int v = 0; v < blocks * block_vectors; ++v) sums[q][v] = splat(0);
  for (int64_t d = 0; d < head.head_dim; ++d) {
    __builtin_prefetch(keys + (blocks + 2) * head.head_dim * kv_block + d * kv_block);
#pragma GCC unroll 8
    for (int v = 0; v < blocks * block_vectors; ++v) {
      const F key =
          Kv::load_row(keys + (v / block_vectors * head.head_dim + d) * kv_block + v % block_vectors * lanes);
#pragma GCC unroll 8
      for (int q = 0; q < tile; ++q) sums[q][v] = fma(splat(queries[q].values[d]), key, sums[q][v]);
    }
  }
#pragma GCC unroll 8
  for (int q = 0; q < tile; ++q)
#pragma GCC unroll 8
    for (int v = 0; v < blocks * block_vectors; ++v) {
      F score = sums[q][v];
      if (head.format == KvFormat::int8) score = score * load(head.key_scales + position + v * lanes);
      store(scores + q * stride + position + v * lanes, score);
    }
}

// Turns one query's scores over what its tile has seen into weights: exp(score − max), zero outside its own
// range, with the value's scale folded in. Returns the sum of the weights before that.
float softmax(const KvHead& head, const Query& query, Range seen, float* scores) {
  const float outside = -__builtin_inff();
  const int64_t first = seen.begin, last = (seen.end + kv_block - 1) / kv_block * kv_block;
  for (int64_t i = first; i < query.begin; ++i) scores[i] = outside;
  for (int64_t i = query.end; i < last; ++i) scores[i] = outside;
  if (query.slope != 0)
    for (int64_t i = query.begin; i < query.end; ++i)
      scores[i] -= query.slope * static_cast<float>(query.end - 1 - i);
  F largest = splat(outside);
  for (int64_t i = first; i < last; i += lanes) largest = max(largest, load(scores + i));
  const F top = splat(reduce_max(largest));
  Sums sums;
  static_assert(kv_block % sum_count == 0);
  for (int64_t i = first; i < last; i += sum_count)
#pragma GCC unroll 4
    for (int part = 0; part < sum_parts; ++part) {
      const int64_t at = i + part * lanes;
      F weight = exp(load(scores + at) - top);
      sums.parts[part] = sums.parts[part] + weight;
      if (head.format == KvFormat::int8) weight = weight * load(head.value_scales + at);
      store(scores + at, weight);
    }
  return sums.total();
}

// output += Σ weight[position] · value[position] over [begin, end), for `width` vectors from dimension d on.
template <class Kv, int tile, int width>
void mix_values(const KvHead& head, const Query* queries, Range positions, int64_t d, const float* scores,
                int64_t stride) {
  const auto* values = reinterpret_cast<const typename Kv::Stored*>(head.values) + d;
  F mixed[tile][width];
#pragma GCC unroll 8
  for (int q = 0; q < tile; ++q)
#pragma GCC unroll 8
    for (int v = 0; v < width; ++v) mixed[q][v] = load(queries[q].output + d + v * lanes);
  for (int64_t position = positions.begin; position < positions.end; ++position) {
    __builtin_prefetch(values + (position + 16) * head.head_dim);
    F value[width];
#pragma GCC unroll 8
    for (int v = 0; v < width; ++v) value[v] = Kv::load_row(values + position * head.head_dim + v * lanes);
#pragma GCC unroll 8
    for (int q = 0; q < tile; ++q) {
      const F weight = splat(scores[q * stride + position]);
#pragma GCC unroll 8
      for (int v = 0; v < width; ++v) mixed[q][v] = fma(weight, value[v], mixed[q][v]);
    }
  }
#pragma GCC unroll 8
  for (int q = 0; q < tile; ++q)
#pragma GCC unroll 8
    for (int v = 0; v < width; ++v) store(queries[q].output + d + v * lanes, mixed[q][v]);
}

// What `tile` queries do with the positions of one block.
template <class Kv, int tile>
struct AttentionTile {
  // As many positions and dimensions at once as keep the multipliers busy.
  static constexpr int blocks = tile == 1 ? 4 : tile == 2 ? 2 : 1;
  static constexpr int width = tile == 1 ? 64 / lanes : tile == 2 ? 32 / lanes : 2;

  static void score(const KvHead& head, const Query* queries, Range positions, float* scores,
                    int64_t stride) {
    int64_t at = positions.begin;
    for (; at + blocks * kv_block <= positions.end; at += blocks * kv_block)
      score_blocks<Kv, tile, blocks>(head, queries, at, scores, stride);
    for (; at < positions.end; at += kv_block) score_blocks<Kv, tile, 1>(head, queries, at, scores, stride);
  }

  // A position outside of a query's range takes no part in its output, not even with a weight of zero: zero
  // times an infinite value is NaN. So the positions that all queries see are mixed together, those before
  // and after for each query alone.
  static void mix(const KvHead& head, const Query* queries, Range positions, const float* scores,
                  int64_t stride) {
    Range shared = positions;
    for (int q = 0; q < tile; ++q) shared = common(shared, {queries[q].begin, queries[q].end});
    if (shared.size() <= 0) shared = {positions.end, positions.end};
    const auto alone = [&](Range part) {
      for (int q = 0; q < tile && part.size() > 0; ++q)
        AttentionTile<Kv, 1>::mix_own(head, queries + q, part, scores + q * stride, stride);
    };
    if constexpr (tile > 1) alone({positions.begin, shared.begin});
    mix_all(head, queries, shared, scores, stride);
    if constexpr (tile > 1) alone({shared.end, positions.end});
  }

  static Range common(Range a, Range b) {
    return {a.begin > b.begin ? a.begin : b.begin, min_of(a.end, b.end)};
  }
  // Those of one query; not inlined into all tiles.
  [[gnu::noinline, gnu::flatten]] static void mix_own(const KvHead& head, const Query* query, Range positions,
                                                      const float* scores, int64_t stride) {
    const Range own = common(positions, {query->begin, query->end});
    if (own.size() > 0) mix_all(head, query, own, scores, stride);
  }
  // Positions that every query of the tile sees.
  static void mix_all(const KvHead& head, const Query* queries, Range positions, const float* scores,
                      int64_t stride) {
    int64_t d = 0;
    for (; d + width * lanes <= head.head_dim; d += width * lanes)
      mix_values<Kv, tile, width>(head, queries, positions, d, scores, stride);
    for (; d + 2 * lanes <= head.head_dim; d += 2 * lanes)
      mix_values<Kv, tile, 2>(head, queries, positions, d, scores, stride);
    for (; d + lanes <= head.head_dim; d += lanes)
      mix_values<Kv, tile, 1>(head, queries, positions, d, scores, stride);
    const auto* values = reinterpret_cast<const typename Kv::Stored*>(head.values);
    for (; d < head.head_dim; ++d)
      for (int q = 0; q < tile; ++q)
        for (int64_t at = positions.begin; at < positions.end; ++at)
          queries[q].output[d] = fma(scores[q * stride + at], scalar_value(values[at * head.head_dim + d]),
                                     queries[q].output[d]);
  }
};

// What the tile of query q sees, from the beginning of a block of keys on.
struct QueryTile {
  const Query* queries;
  int64_t first, count;
  Range seen;
};
inline QueryTile tile_of(std::span<const Query> queries, int64_t q) {
  QueryTile tile{queries.data(), q / query_tile * query_tile, query_tile, {}};
  tile.queries += tile.first;
  tile.count = min_of(query_tile, static_cast<int64_t>(queries.size()) - tile.first);
  tile.seen = {tile.queries[0].begin, tile.queries[0].end};
  for (int64_t i = 1; i < tile.count; ++i) {
    tile.seen.begin = min_of(tile.seen.begin, tile.queries[i].begin);
    tile.seen.end = tile.queries[i].end > tile.seen.end ? tile.queries[i].end : tile.seen.end;
  }
  tile.seen.begin = tile.seen.begin / kv_block * kv_block;
  return tile;
}

// step.template operator()<queries of the tile>(queries, positions, scores) for all tiles, block by block of
// positions: a block is read from memory once and stays in cache meanwhile.
template <class Step>
void for_blocks(std::span<const Query> queries, float* scores, int64_t stride, Step step) {
  constexpr int64_t block = 128;
  const auto count = static_cast<int64_t>(queries.size());
  int64_t begin = queries[0].begin, end = 0;
  for (int64_t q = 0; q < count; q += query_tile) {
    const Range seen = tile_of(queries, q).seen;
    begin = min_of(begin, seen.begin);
    end = seen.end > end ? seen.end : end;
  }
  for (int64_t at = begin / block * block; at < end; at += block)
    for (int64_t q = 0; q < count; q += query_tile) {
      const QueryTile tile = tile_of(queries, q);
      const Range positions = {tile.seen.begin > at ? tile.seen.begin : at,
                               min_of(tile.seen.end, at + block)};
      if (positions.size() <= 0) continue;
      float* const tile_scores = scores + q * stride;
      static_assert(query_tile == 4);
      switch (tile.count) {
        case 1: step.template operator()<1>(tile.queries, positions, tile_scores); break;
        case 2: step.template operator()<2>(tile.queries, positions, tile_scores); break;
        case 3: step.template operator()<3>(tile.queries, positions, tile_scores); break;
        case 4: step.template operator()<4>(tile.queries, positions, tile_scores); break;
      }
    }
}

template <class Kv>
void attend(const KvHead& head, std::span<const Query> queries, float* scores, int64_t stride) {
  const auto count = static_cast<int64_t>(queries.size());
  for_blocks(queries, scores, stride,
             [&]<int tile>(const Query* tile_queries, Range positions, float* tile_scores) {
               AttentionTile<Kv, tile>::score(head, tile_queries, positions, tile_scores, stride);
             });
  float sums[max_queries];
  for (int64_t q = 0; q < count; ++q) {
    const Query& query = queries[static_cast<size_t>(q)];
    sums[q] = softmax(head, query, tile_of(queries, q).seen, scores + q * stride);
    __builtin_memset(query.output, 0, static_cast<size_t>(head.head_dim) * sizeof(float));
  }
  for_blocks(queries, scores, stride,
             [&]<int tile>(const Query* tile_queries, Range positions, float* tile_scores) {
               AttentionTile<Kv, tile>::mix(head, tile_queries, positions, tile_scores, stride);
             });
  for (int64_t q = 0; q < count; ++q)
    for (int64_t d = 0; d < head.head_dim; ++d) queries[static_cast<size_t>(q)].output[d] /= sums[q];
}

[[gnu::flatten]] void attention(const KvHead& head, std::span<const Query> queries, float* scores,
                                int64_t scores_stride) {
  with_format(head.format, [&]<class Kv>() { attend<Kv>(head, queries, scores, scores_stride); });
}

// What of a number can be stored: f16 has its finite ones up to 65504, and one NaN; int8 has no NaN.
template <typename Stored>
inline float storable(float value) {
  const float most = 65504, magnitude = __builtin_fabsf(value);
  if constexpr (sizeof(Stored) == 1) return value == value ? value : 0;
  if constexpr (sizeof(Stored) == 2) {
    if (value != value) return __builtin_copysignf(__builtin_nanf(""), value);
    if (magnitude > most && magnitude < __builtin_inff()) return __builtin_copysignf(most, value);
  }
  return value;
}

// Writes one vector of head_dim floats, elements `step` apart.
template <typename Stored>
void scatter(const float* source, int64_t n, Stored* target, int64_t step, float factor) {
  for (int64_t i = 0; i < n; ++i) target[i * step] = narrow<Stored>(storable<Stored>(source[i] * factor));
}

// NaN when not all are finite.
inline float largest_magnitude(const float* x, int64_t n) {
  float top = 0, zero = 0;
  for (int64_t i = 0; i < n; ++i) {
    top = __builtin_fabsf(x[i]) > top ? __builtin_fabsf(x[i]) : top;
    zero += x[i] * 0.0f;
  }
  return top + zero;
}

template <typename Stored>
void store_as(const KvHead& head, int64_t position, const float* key, const float* value) {
  float key_factor = 1, value_factor = 1;
  if constexpr (sizeof(Stored) == 1) {
    const float key_top = largest_magnitude(key, head.head_dim),
                value_top = largest_magnitude(value, head.head_dim);
    head.key_scales[position] = key_top / 127.0f;
    head.value_scales[position] = value_top / 127.0f;
    key_factor = code_factor(key_top);
    value_factor = code_factor(value_top);
  }
  auto* keys = reinterpret_cast<Stored*>(head.keys) + position / kv_block * kv_block * head.head_dim;
  scatter(key, head.head_dim, keys + position % kv_block, kv_block, key_factor);
  auto* values = reinterpret_cast<Stored*>(head.values) + position * head.head_dim;
  scatter(value, head.head_dim, values, 1, value_factor);
}

[[gnu::flatten]] void store_kv(const KvHead& head, int64_t position, const float* key, const float* value) {
  with_format(head.format, [&]<class Kv>() { store_as<typename Kv::Stored>(head, position, key, value); });
}
