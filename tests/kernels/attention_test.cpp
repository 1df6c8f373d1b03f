// The KV cache's writes and softmax attention, for every storage format.

#include "tests/support/reference_kernels.h"

using namespace whittle;
using namespace whittle::test;

namespace {

constexpr KvFormat formats[] = {KvFormat::f32, KvFormat::f16, KvFormat::int8};
constexpr int64_t head_dims[] = {2, 16, 48, 64, 80, 128};

// One head's cache. Bytes that no position has been written to are NaN or the largest code: nothing may use
// them.
struct Cache {
  std::vector<std::byte> keys, values;
  std::vector<float> key_scales, value_scales;
  KvHead head;

  Cache(KvFormat format, int64_t head_dim, int64_t positions) {
    const int64_t capacity = round_up(positions, kv_block);
    const int64_t element = format == KvFormat::f32 ? 4 : format == KvFormat::f16 ? 2 : 1;
    keys.assign(static_cast<size_t>(capacity * head_dim * element),
                format == KvFormat::int8 ? std::byte{0x7f} : std::byte{0xff});
    values = keys;
    key_scales.assign(static_cast<size_t>(capacity), std::nanf(""));
    value_scales = key_scales;
    head = {format, head_dim, keys.data(), values.data(), key_scales.data(), value_scales.data()};
  }

  float stored(const std::vector<std::byte>& bytes, int64_t element) const {
    if (head.format == KvFormat::f32) return reinterpret_cast<const float*>(bytes.data())[element];
    if (head.format == KvFormat::f16)
      return f16_to_float(reinterpret_cast<const uint16_t*>(bytes.data())[element]);
    return reinterpret_cast<const int8_t*>(bytes.data())[element];
  }
  // By the layout that kernel_table.h documents.
  double key(int64_t position, int64_t d) const {
    const int64_t at = (position / kv_block * head.head_dim + d) * kv_block + position % kv_block;
    const double scale = head.format == KvFormat::int8 ? key_scales[static_cast<size_t>(position)] : 1;
    return stored(keys, at) * scale;
  }
  double value(int64_t position, int64_t d) const {
    const double scale = head.format == KvFormat::int8 ? value_scales[static_cast<size_t>(position)] : 1;
    return stored(values, position * head.head_dim + d) * scale;
  }
};

Cache filled(const KernelTable& table, KvFormat format, int64_t head_dim, int64_t positions, Random& random) {
  Cache cache(format, head_dim, positions);
  for (int64_t p = 0; p < positions; ++p)
    table.store_kv(cache.head, p, random.floats(head_dim).data(), random.floats(head_dim, -2, 2).data());
  return cache;
}

// outputs[query][head_dim] of one call.
std::vector<std::vector<float>> attend(const KernelTable& table, const Cache& cache,
                                       const std::vector<std::vector<float>>& rows,
                                       const std::vector<Range>& ranges,
                                       const std::vector<float>& slopes = {}) {
  const int64_t stride = round_up(static_cast<int64_t>(cache.key_scales.size()), kv_block);
  std::vector<float> scores(static_cast<size_t>(max_queries * stride), std::nanf(""));
  std::vector<std::vector<float>> outputs(rows.size(),
                                          std::vector<float>(static_cast<size_t>(cache.head.head_dim)));
  std::vector<Query> queries;
  for (size_t q = 0; q < rows.size(); ++q)
    queries.push_back(
        {rows[q].data(), outputs[q].data(), ranges[q].begin, ranges[q].end, slopes.empty() ? 0 : slopes[q]});
  table.attention(cache.head, queries, scores.data(), stride);
  return outputs;
}

// Empty, or where one query's output is further from double arithmetic than its roundings explain.
std::string wrong_attention(const Cache& cache, const std::vector<float>& query, Range range,
                            const std::vector<float>& output, float slope = 0) {
  const int64_t head_dim = cache.head.head_dim;
  std::vector<double> scores;
  double top = -HUGE_VAL, magnitude = 0, sum = 0;
  for (int64_t p = range.begin; p < range.end; ++p) {
    double score = 0, products = 0;
    for (int64_t d = 0; d < head_dim; ++d) {
      const double product = query[static_cast<size_t>(d)] * cache.key(p, d);
      score += product;
      products += std::abs(product);
    }
    const double fall = static_cast<double>(slope) * static_cast<double>(range.end - 1 - p);
    score -= fall;
    products += fall;
    scores.push_back(score);
    top = std::max(top, score);
    magnitude = std::max(magnitude, products);
  }
  for (double& score : scores) sum += score = std::exp(score - top);
  // A score is off by (head_dim + 1) eps of its products at most, the maximum likewise, their difference
  // rounds once more, and exp is within 4 eps. n weights and n products are then summed, and divided.
  const double n = static_cast<double>(range.size());
  const double weight_error =
      (2 * static_cast<double>(head_dim + 1) * magnitude + 2 * magnitude + 5) * 2 * float_epsilon;
  for (int64_t d = 0; d < head_dim; ++d) {
    double mixed = 0, size = 0;
    for (int64_t p = range.begin; p < range.end; ++p) {
      const double part = scores[static_cast<size_t>(p - range.begin)] / sum * cache.value(p, d);
      mixed += part;
      size += std::abs(part);
    }
    const double tolerance = (2 * weight_error + (2 * n + 4) * float_epsilon) * size;
    if (!(std::abs(output[static_cast<size_t>(d)] - mixed) <= tolerance))
      return fmt::format("dimension {}: {}, not {} ± {}", d, output[static_cast<size_t>(d)], mixed,
                         tolerance);
  }
  return {};
}

}  // namespace

TEST_CASE("store_kv writes one position of the documented layout and nothing else") {
  Random random(30);
  for_each_isa([&](const KernelTable& table) {
    for (KvFormat format : formats)
      for (int64_t head_dim : head_dims)
        for (int64_t position : {0, 5, 17}) {
          Cache cache(format, head_dim, 20);
          const Cache before = cache;
          const std::vector<float> key = random.floats(head_dim, -3, 3),
                                   value = random.floats(head_dim, -3, 3);
          table.store_kv(cache.head, position, key.data(), value.data());
          const auto error_allowed = [&](float number, float scale) {
            if (format == KvFormat::f32) return 0.0;
            if (format == KvFormat::f16) return std::abs(number) * 0x1p-11 + 0x1p-25;
            return scale * 0.5 + 4 * float_epsilon * std::abs(number);
          };
          for (int64_t d = 0; d < head_dim; ++d) {
            const float k = key[static_cast<size_t>(d)], v = value[static_cast<size_t>(d)];
            const auto at = static_cast<size_t>(position);
            CHECK(std::abs(cache.key(position, d) - k) <= error_allowed(k, cache.key_scales[at]));
            CHECK(std::abs(cache.value(position, d) - v) <= error_allowed(v, cache.value_scales[at]));
          }
          size_t changed = 0;
          for (size_t i = 0; i < cache.keys.size(); ++i) changed += cache.keys[i] != before.keys[i];
          for (size_t i = 0; i < cache.values.size(); ++i) changed += cache.values[i] != before.values[i];
          CHECK(changed <= 2 * cache.keys.size() / 32);
        }
    Cache zeros(KvFormat::int8, 16, 1);
    const std::vector<float> zero(16), tiny(16, 1e-42f);
    table.store_kv(zeros.head, 0, zero.data(), tiny.data());
    for (int64_t d = 0; d < 16; ++d) CHECK(std::abs(zeros.key(0, d)) + std::abs(zeros.value(0, d)) < 1e-30);
  });
}

TEST_CASE("attention of one query is close to double arithmetic over any range of positions") {
  Random random(31);
  for_each_isa([&](const KernelTable& table) {
    for (KvFormat format : formats)
      for (int64_t head_dim : head_dims) {
        const Cache cache = filled(table, format, head_dim, 400, random);
        for (Range range : {Range{0, 1},
                            {0, 15},
                            {0, 16},
                            {0, 17},
                            {0, 150},
                            {5, 6},
                            {15, 17},
                            {16, 33},
                            {40, 150},
                            {149, 150},
                            {0, 400},
                            {130, 390}}) {
          INFO("format " << static_cast<int>(format) << " head_dim " << head_dim << " positions "
                         << range.begin << ".." << range.end);
          const std::vector<std::vector<float>> query = {random.floats(head_dim)};
          for (const float slope : {0.0f, 0.00390625f, 0.7f})
            CHECK(wrong_attention(cache, query[0], range, attend(table, cache, query, {range}, {slope})[0],
                                  slope) == "");
        }
      }
  });
}

TEST_CASE("attention follows the query to one position when its score stands far above") {
  for_each_isa([&](const KernelTable& table) {
    Cache cache(KvFormat::f32, 16, 40);
    for (int64_t p = 0; p < 40; ++p) {
      std::vector<float> key(16, p == 23 ? 50.0f : -50.0f), value(16, static_cast<float>(p));
      table.store_kv(cache.head, p, key.data(), value.data());
    }
    const std::vector<float> output = attend(table, cache, {std::vector<float>(16, 1.0f)}, {{0, 40}})[0];
    CHECK(output == std::vector<float>(16, 23.0f));
  });
}

TEST_CASE("a query gets the bits that it gets alone, whatever queries come with it") {
  Random random(32);
  for_each_isa([&](const KernelTable& table) {
    for (KvFormat format : formats)
      for (int64_t head_dim : head_dims) {
        const Cache cache = filled(table, format, head_dim, 500, random);
        for (const std::vector<Range>& ranges : std::vector<std::vector<Range>>{
                 {{0, 97}, {0, 98}, {0, 99}, {0, 100}},     // causal
                 {{61, 93}, {62, 94}, {63, 95}, {64, 96}},  // sliding window across a block's edge
                 {{0, 1}, {0, 2}, {0, 3}, {0, 4}},          // the first tokens
                 {{3, 100}, {90, 91}, {0, 20}, {50, 64}},   // any ranges
                 {{0, 31}, {0, 32}, {0, 33}},
                 {{10, 50}, {11, 51}},
                 {{0, 500}, {200, 210}, {0, 127}, {0, 128}, {0, 129}, {255, 257}, {127, 500}},  // across
                                                                                                // blocks
                 std::vector<Range>(max_queries, Range{3, 400})}) {
          std::vector<std::vector<float>> queries;
          for (size_t q = 0; q < ranges.size(); ++q) queries.push_back(random.floats(head_dim, -2, 2));
          for (const float slope : {0.0f, 0.125f}) {
            std::vector<float> slopes;
            for (size_t q = 0; q < ranges.size(); ++q) slopes.push_back(slope * static_cast<float>(q));
            const auto together = attend(table, cache, queries, ranges, slopes);
            for (size_t q = 0; q < ranges.size(); ++q)
              CHECK(difference(together[q],
                               attend(table, cache, {queries[q]}, {ranges[q]}, {slopes[q]})[0]) == "");
          }
        }
      }
  });
}

namespace {

// A copy in which nothing outside of `range` is a number.
Cache spoiled_outside(const Cache& cache, Range range) {
  const auto positions = static_cast<int64_t>(cache.key_scales.size());
  Cache spoiled(cache.head.format, cache.head.head_dim, positions);
  std::copy(cache.keys.begin(), cache.keys.end(), spoiled.keys.begin());
  std::copy(cache.values.begin(), cache.values.end(), spoiled.values.begin());
  spoiled.key_scales.assign(cache.key_scales.begin(), cache.key_scales.end());
  spoiled.value_scales.assign(cache.value_scales.begin(), cache.value_scales.end());
  spoiled.head.key_scales = spoiled.key_scales.data();
  spoiled.head.value_scales = spoiled.value_scales.data();
  const auto spoil = [&](std::byte* elements, int64_t element, float number) {
    if (cache.head.format == KvFormat::f32) reinterpret_cast<float*>(elements)[element] = number;
    if (cache.head.format == KvFormat::f16)
      reinterpret_cast<uint16_t*>(elements)[element] = float_to_f16(number);
  };
  for (int64_t p = 0; p < positions; ++p) {
    if (p >= range.begin && p < range.end) continue;
    const float none = p % 3 == 0 ? NAN : p % 3 == 1 ? INFINITY : -INFINITY;
    spoiled.key_scales[static_cast<size_t>(p)] = spoiled.value_scales[static_cast<size_t>(p)] = none;
    for (int64_t d = 0; d < cache.head.head_dim; ++d) {
      spoil(spoiled.head.keys, (p / kv_block * cache.head.head_dim + d) * kv_block + p % kv_block, none);
      spoil(spoiled.head.values, p * cache.head.head_dim + d, none);
    }
  }
  return spoiled;
}

}  // namespace

TEST_CASE("what stands outside of a query's range does not reach it, even when it is no number") {
  Random random(33);
  for_each_isa([&](const KernelTable& table) {
    for (KvFormat format : formats)
      for (int64_t head_dim : head_dims) {
        const Cache cache = filled(table, format, head_dim, 300, random);
        for (const std::vector<Range>& ranges : std::vector<std::vector<Range>>{
                 {{20, 90}},
                 {{0, 98}, {0, 99}},
                 {{0, 31}, {0, 32}, {0, 33}},
                 {{0, 127}, {0, 128}, {0, 129}, {0, 130}},             // causal, across blocks
                 {{61, 130}, {62, 131}, {63, 132}, {64, 133}},         // sliding window
                 {{3, 100}, {90, 91}, {0, 20}, {50, 64}, {200, 300}},  // nothing in common
                 {{0, 1}, {0, 2}, {0, 3}, {0, 4}, {0, 5}, {0, 6}, {0, 7}}}) {
          std::vector<std::vector<float>> queries;
          for (size_t q = 0; q < ranges.size(); ++q) queries.push_back(random.floats(head_dim, -2, 2));
          for (size_t q = 0; q < ranges.size(); ++q) {
            INFO("format " << static_cast<int>(format) << " head_dim " << head_dim << " query " << q << " of "
                           << ranges.size() << ", positions " << ranges[q].begin << ".." << ranges[q].end);
            const auto together = attend(table, spoiled_outside(cache, ranges[q]), queries, ranges);
            CHECK(difference(together[q], attend(table, cache, {queries[q]}, {ranges[q]})[0]) == "");
          }
        }
      }
  });
}

TEST_CASE("an f16 cache keeps what is finite finite, with the same bits on every instruction set") {
  const std::vector<float> numbers = {65504,
                                      -65504,
                                      65519.996f,
                                      65520,
                                      -65520,
                                      1e6f,
                                      -1e30f,
                                      std::numeric_limits<float>::max(),
                                      INFINITY,
                                      -INFINITY,
                                      NAN,
                                      -NAN,
                                      std::bit_cast<float>(0x7f812345u),
                                      1,
                                      0x1p-24f,
                                      -0.0f};
  const std::vector<uint16_t> expected = {0x7bff, 0xfbff, 0x7bff, 0x7bff, 0xfbff, 0x7bff, 0xfbff, 0x7bff,
                                          0x7c00, 0xfc00, 0x7e00, 0xfe00, 0x7e00, 0x3c00, 0x0001, 0x8000};
  for_each_isa([&](const KernelTable& table) {
    Cache cache(KvFormat::f16, 16, 16);
    table.store_kv(cache.head, 3, numbers.data(), numbers.data());
    for (size_t d = 0; d < numbers.size(); ++d) {
      INFO(numbers[d]);
      CHECK(reinterpret_cast<const uint16_t*>(cache.keys.data())[d * 16 + 3] == expected[d]);
      CHECK(reinterpret_cast<const uint16_t*>(cache.values.data())[3 * 16 + d] == expected[d]);
    }
  });
}

TEST_CASE("an int8 cache says of a key or value with a NaN or an infinity that it is no number") {
  for_each_isa([&](const KernelTable& table) {
    for (float none : {NAN, INFINITY, -INFINITY})
      for (size_t place : {size_t{0}, size_t{7}, size_t{15}}) {
        Cache cache(KvFormat::int8, 16, 16);
        const std::vector<float> key(16, 1.0f);
        std::vector<float> value(16, 2.0f);
        value[place] = none;
        table.store_kv(cache.head, 0, key.data(), value.data());
        CHECK(cache.key_scales[0] == 1.0f / 127.0f);
        CHECK(std::isnan(cache.value_scales[0]));
        CHECK(std::all_of(cache.values.begin(), cache.values.begin() + 16,
                          [](std::byte code) { return code == std::byte{0}; }));
        const std::vector<float> output = attend(table, cache, {key}, {{0, 1}})[0];
        CHECK(std::all_of(output.begin(), output.end(), [](float number) { return std::isnan(number); }));
      }
  });
}
