#pragma once
// How many values lie where.

#include <cstdint>
#include <span>
#include <vector>

namespace whittle {

// counts[i] values of at least edges[i] and below edges[i + 1]; the last edge belongs to the last count.
struct Histogram {
  std::vector<double> edges;  // one more than counts
  std::vector<int64_t> counts;
};

// Of values above 0, in steps of equal ratio: times have a long tail. At most 40 of them, from the least
// value to the largest; one where all values are alike, none where there is no value. Those that are not
// finite or not above 0 are left out.
Histogram log_histogram(std::span<const double> values);

}  // namespace whittle
