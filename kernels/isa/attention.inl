// Softmax attention over one head, and the KV cache's writes. Included like elementwise.inl.
//
// Each query's scores, maximum, sum and output are computed in one order that depends only on its own range of positions:
// a tile shares loads between queries, never sums.

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

constexpr int block_vectors = static_cast<int>(kv_block) / lanes;

// scores[q][position] of `blocks` blocks from `position` on, without the key's scale. Each score is a chain of
// multiply-adds in order of d: several blocks at once keep the multipliers busy.
template <class Kv, int tile, int blocks>
inline void score_blocks(const KvHead& head, const Query* queries, int64_t position, float* scores, int64_t stride) {
  const auto* keys = reinterpret_cast<const typename Kv::Stored*>(head.keys) + position * head.head_dim;
  F sums[tile][blocks * block_vectors];
#pragma GCC unroll 8
  for (int q = 0; q < tile; ++q)
#pragma GCC unroll 8
    for (int v = 0; v < blocks * block_vectors; ++v) sums[q][v] = splat(0);
  for (int64_t d = 0; d < head.head_dim; ++d)
#pragma GCC unroll 8
    for (int v = 0; v < blocks * block_vectors; ++v) {
      const F key = Kv::load_row(keys + (v / block_vectors * head.head_dim + d) * kv_block + v % block_vectors * lanes);
#pragma GCC unroll 8
      for (int q = 0; q < tile; ++q) sums[q][v] = fma(splat(queries[q].values[d]), key, sums[q][v]);
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

// Turns one query's scores into weights: exp(score − max), zero outside its range, with the value's scale folded in.
// Returns the sum of the weights before that.
float soften(const KvHead& head, const Query& query, int64_t begin, int64_t end, float* scores) {
  const float outside = -__builtin_inff();
  const int64_t first = begin / kv_block * kv_block, last = (end + kv_block - 1) / kv_block * kv_block;
  for (int64_t i = first; i < query.begin; ++i) scores[i] = outside;
  for (int64_t i = query.end; i < last; ++i) scores[i] = outside;
  F largest = splat(outside);
  for (int64_t i = first; i < last; i += lanes) largest = max(largest, load(scores + i));
  const F top = splat(reduce_max(largest));
  F sum = splat(0);
  for (int64_t i = first; i < last; i += lanes) {
    F weight = exp(load(scores + i) - top);
    sum = sum + weight;
    if (head.format == KvFormat::int8) weight = weight * load(head.value_scales + i);
    store(scores + i, weight);
  }
  return reduce_add(sum);
}

// output = Σ weight[position] · value[position] / sum, for `width` vectors from dimension d on.
template <class Kv, int tile, int width>
void mix_values(const KvHead& head, const Query* queries, int64_t begin, int64_t end, int64_t d, const float* scores,
                int64_t stride, const float* sums) {
  const auto* values = reinterpret_cast<const typename Kv::Stored*>(head.values) + d;
  F mixed[tile][width];
#pragma GCC unroll 8
  for (int q = 0; q < tile; ++q)
#pragma GCC unroll 8
    for (int v = 0; v < width; ++v) mixed[q][v] = splat(0);
  for (int64_t position = begin; position < end; ++position) {
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
    for (int v = 0; v < width; ++v) store(queries[q].output + d + v * lanes, mixed[q][v] / splat(sums[q]));
}

template <class Kv, int tile>
void attend(const KvHead& head, const Query* queries, float* scores, int64_t stride) {
  int64_t begin = queries[0].begin, end = queries[0].end;
  for (int q = 1; q < tile; ++q) {
    begin = queries[q].begin < begin ? queries[q].begin : begin;
    end = queries[q].end > end ? queries[q].end : end;
  }
  constexpr int blocks = tile == 1 ? 4 : 1;
  int64_t block = begin / kv_block * kv_block;
  for (; block + blocks * kv_block <= end; block += blocks * kv_block)
    score_blocks<Kv, tile, blocks>(head, queries, block, scores, stride);
  for (; block < end; block += kv_block) score_blocks<Kv, tile, 1>(head, queries, block, scores, stride);
  float sums[tile];
  for (int q = 0; q < tile; ++q) sums[q] = soften(head, queries[q], begin, end, scores + q * stride);
  constexpr int wide = tile == 1 ? 64 / lanes : 2;
  int64_t d = 0;
  for (; d + wide * lanes <= head.head_dim; d += wide * lanes)
    mix_values<Kv, tile, wide>(head, queries, begin, end, d, scores, stride, sums);
  for (; d + 2 * lanes <= head.head_dim; d += 2 * lanes)
    mix_values<Kv, tile, 2>(head, queries, begin, end, d, scores, stride, sums);
  for (; d + lanes <= head.head_dim; d += lanes)
    mix_values<Kv, tile, 1>(head, queries, begin, end, d, scores, stride, sums);
  const auto* values = reinterpret_cast<const typename Kv::Stored*>(head.values);
  for (; d < head.head_dim; ++d)
    for (int q = 0; q < tile; ++q) {
      float mixed = 0;
      for (int64_t position = begin; position < end; ++position)
        mixed += scores[q * stride + position] * scalar_value(values[position * head.head_dim + d]);
      queries[q].output[d] = mixed / sums[q];
    }
}

template <class Kv>
void attend_tiles(const KvHead& head, std::span<const Query> queries, float* scores, int64_t stride) {
  if (queries.size() == max_query_tile) return attend<Kv, max_query_tile>(head, queries.data(), scores, stride);
  for (const Query& query : queries) attend<Kv, 1>(head, &query, scores, stride);
}

[[gnu::flatten]] void attention(const KvHead& head, std::span<const Query> queries, float* scores,
                                int64_t scores_stride) {
  switch (head.format) {
    case KvFormat::f32: return attend_tiles<KvF32>(head, queries, scores, scores_stride);
    case KvFormat::f16: return attend_tiles<KvF16>(head, queries, scores, scores_stride);
    case KvFormat::int8: return attend_tiles<KvInt8>(head, queries, scores, scores_stride);
  }
}

// Writes one vector of head_dim floats, elements `step` apart.
template <typename Stored>
void scatter(const float* source, int64_t n, Stored* target, int64_t step, float factor) {
  for (int64_t i = 0; i < n; ++i) target[i * step] = narrow<Stored>(source[i] * factor);
}

inline float largest_magnitude(const float* x, int64_t n) {
  float top = 0;
  for (int64_t i = 0; i < n; ++i) top = __builtin_fabsf(x[i]) > top ? __builtin_fabsf(x[i]) : top;
  return top;
}

template <typename Stored>
void store_as(const KvHead& head, int64_t position, const float* key, const float* value) {
  float key_factor = 1, value_factor = 1;
  if constexpr (sizeof(Stored) == 1) {
    const float key_top = largest_magnitude(key, head.head_dim), value_top = largest_magnitude(value, head.head_dim);
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
  switch (head.format) {
    case KvFormat::f32: return store_as<float>(head, position, key, value);
    case KvFormat::f16: return store_as<uint16_t>(head, position, key, value);
    case KvFormat::int8: return store_as<int8_t>(head, position, key, value);
  }
}
