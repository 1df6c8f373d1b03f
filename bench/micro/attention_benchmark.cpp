// Attention of one step's queries over the cache of one key/value head: a model's decode has one such call a
// head and layer.

#include <random>
#include <vector>

#include "bench/machine.h"
#include "bench/micro/limits.h"
#include "kernels/buffer.h"

namespace whittle {
namespace {

struct Format {
  const char* name;
  KvFormat format;
  int64_t bytes;  // of a value
};
constexpr Format formats[] = {{"f16", KvFormat::f16, 2}, {"int8", KvFormat::int8, 1}};
constexpr int64_t head_dims[] = {64, 128};
constexpr int64_t query_counts[] = {1, 4, 8, 16};
constexpr int64_t contexts[] = {512, 4096, 16384};

// The keys and values of one head, of any values.
struct Cache {
  Buffer<std::byte> keys, values;
  Buffer<float> key_scales, value_scales;
  KvHead head;

  Cache(const KernelTable& table, const Format& format, int64_t head_dim, int64_t context)
      : keys(context * head_dim * format.bytes, true),
        values(context * head_dim * format.bytes, true),
        key_scales(context),
        value_scales(context),
        head{format.format, head_dim, keys.data(), values.data(), key_scales.data(), value_scales.data()} {
    std::mt19937 random(1);
    std::uniform_real_distribution<float> uniform(-1, 1);
    std::vector<float> key(static_cast<size_t>(head_dim)), value(key.size());
    for (int64_t position = 0; position < context; ++position) {
      for (float& number : key) number = uniform(random);
      for (float& number : value) number = uniform(random);
      table.store_kv(head, position, key.data(), value.data());
    }
  }
};

void measure(benchmark::State& state, const KernelTable& table, const Format& format, int64_t head_dim,
             int64_t count, int64_t context) {
  // So many heads that the caches hold none from one pass to the next.
  const int64_t bytes = 2 * context * head_dim * format.bytes;
  std::vector<Cache> heads;
  while (std::ssize(heads) * bytes < 4 * read_machine().last_level_cache_bytes())
    heads.emplace_back(table, format, head_dim, context);
  std::vector<float> rows(static_cast<size_t>(count * head_dim), 0.1f), outputs(rows.size());
  std::vector<float> scores(static_cast<size_t>(max_queries * context));
  std::vector<Query> queries;
  for (int64_t q = 0; q < count; ++q)
    queries.push_back({rows.data() + q * head_dim, outputs.data() + q * head_dim, 0, context});
  const auto calls = static_cast<int64_t>(heads.size());
  measure_against_limit(state, {calls * bytes, 0, calls * count * 4 * head_dim * context}, [&] {
    for (const Cache& cache : heads) table.attention(cache.head, queries, scores.data(), context);
    benchmark::DoNotOptimize(outputs.data());
  });
}

}  // namespace

void register_attention(const KernelTable& table) {
  for (const Format& format : formats)
    for (const int64_t head_dim : head_dims)
      for (const int64_t count : query_counts)
        for (const int64_t context : contexts)
          register_kernel(fmt::format("attention/{}/{}/head{}/queries{}/context{}", table.name, format.name,
                                      head_dim, count, context),
                          [&table, &format, head_dim, count, context](benchmark::State& state) {
                            measure(state, table, format, head_dim, count, context);
                          });
}

}  // namespace whittle
