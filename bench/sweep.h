#pragma once
// Lists of settings, and every combination of their values.

#include <cstdint>
#include <vector>

#include "bench/speed.h"

namespace whittle {

struct SweepLists {
  std::vector<int> threads = {0};  // 0: one a physical core
  std::vector<KvFormat> kv_cache = {KvFormat::f16};
  std::vector<int64_t> context = {0}, sequences = {1}, prompt_tokens = {512}, gen_tokens = {128};
};

struct SweepPoint {
  int threads = 0;
  SpeedOptions speed;
};

// The last list's values change fastest; all else is as in `common`. Throws OptionError for a list that is
// empty or has a value twice, and for more than 1000 combinations.
std::vector<SweepPoint> sweep_points(const SweepLists& lists, const SpeedOptions& common);

}  // namespace whittle
