#pragma once
// The most tokens a second that keep a limit of latency: how many sequences to decode together.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/speed.h"

namespace whittle {

// What a measurement is about. throughput: searched for, below a limit; latency: shown in more percentiles.
enum class Goal : uint8_t { none, latency, throughput };
std::string_view name(Goal goal);

struct ThroughputGoal {
  double max_itl_ms = 0;        // of the 95th percentile of the time between tokens
  int64_t max_sequences = 256;  // that are tried
};

struct Tried {
  int64_t sequences = 0;
  double tokens_per_s = 0, itl_p95_ms = 0;
};

struct SequenceSearch {
  std::vector<Tried> tried;    // in this order
  std::optional<size_t> best;  // of these, within the limit, the one with the most tokens a second
};

// Doubles from 1 until the limit is exceeded or `most` is reached, then halves the gap between the largest
// number within and the smallest beyond, down to a sixteenth of the former. Supposes that more sequences make
// no step shorter; where noise says otherwise, `best` is still within, as it was measured.
SequenceSearch search_sequences(double max_itl_ms, int64_t most,
                                const std::function<Tried(int64_t sequences)>& measure);

enum class SearchEnd : uint8_t { latency, max_sequences, memory };  // what kept more from being tried
std::string_view name(SearchEnd end);

// A model at a setting; options.sequences are those that were tried.
struct ThroughputSearch {
  size_t folder = 0, setting = 0;
  std::vector<SpeedReport> tried;  // as in `search`
  SequenceSearch search;
  SearchEnd end = SearchEnd::latency;
};

// Each folder at each setting, one after the other; settings' own `sequences` do not count. Caches of all
// sequences together may take seven tenths of the memory that is available. Throws Error as measure_speed.
std::vector<ThroughputSearch> find_throughput(std::span<const std::filesystem::path> folders,
                                              std::span<const SpeedSetting> settings,
                                              const ThroughputGoal& goal, const SpeedProgress& progress);

}  // namespace whittle
