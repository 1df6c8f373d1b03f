#include "bench/sweep.h"

#include <algorithm>

#include "kernels/option_error.h"

namespace whittle {
namespace {

// Each point once for each of `values`.
template <typename Value, typename Set>
void expand(std::vector<SweepPoint>& points, const char* option, std::vector<Value> values, Set set) {
  constexpr size_t most = 1000;
  std::vector<SweepPoint> expanded;
  for (const SweepPoint& point : points)
    for (const Value& value : values) set(expanded.emplace_back(point), value);
  std::ranges::sort(values);
  if (values.empty()) fail_option(option, "expected at least one value");
  if (std::ranges::adjacent_find(values) != values.end()) fail_option(option, "has a value twice");
  if (expanded.size() > most)
    fail_option(option, "makes {} combinations, of {} at most", expanded.size(), most);
  points = std::move(expanded);
}

}  // namespace

std::vector<SweepPoint> sweep_points(const SweepLists& lists, const SpeedOptions& common) {
  std::vector<SweepPoint> points = {{0, common}};
  expand(points, "threads", lists.threads, [](SweepPoint& point, int value) { point.threads = value; });
  expand(points, "kv_cache", lists.kv_cache,
         [](SweepPoint& point, KvFormat value) { point.speed.kv_cache = value; });
  expand(points, "context", lists.context,
         [](SweepPoint& point, int64_t value) { point.speed.context = value; });
  expand(points, "sequences", lists.sequences,
         [](SweepPoint& point, int64_t value) { point.speed.sequences = value; });
  expand(points, "prompt_tokens", lists.prompt_tokens,
         [](SweepPoint& point, int64_t value) { point.speed.prompt_tokens = value; });
  expand(points, "gen_tokens", lists.gen_tokens,
         [](SweepPoint& point, int64_t value) { point.speed.gen_tokens = value; });
  return points;
}

}  // namespace whittle
