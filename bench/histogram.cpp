#include "bench/histogram.h"

#include <algorithm>
#include <cmath>
#include <iterator>

namespace whittle {
namespace {

// Twice the cube root (Rice's rule), so that few values do not stand each in a bin of its own.
size_t bins_of(size_t values) {
  constexpr double most = 40;
  return static_cast<size_t>(std::clamp(std::ceil(2 * std::cbrt(static_cast<double>(values))), 1.0, most));
}

}  // namespace

Histogram log_histogram(std::span<const double> values) {
  std::vector<double> sorted;
  std::ranges::copy_if(values, std::back_inserter(sorted),
                       [](double value) { return std::isfinite(value) && value > 0; });
  if (sorted.empty()) return {};
  std::ranges::sort(sorted);
  const double least = sorted.front(), most = sorted.back();
  if (least == most) return {{least, most}, {static_cast<int64_t>(sorted.size())}};
  Histogram histogram;
  const size_t bins = bins_of(sorted.size());
  for (size_t i = 0; i <= bins; ++i)
    histogram.edges.push_back(
        least * std::exp(std::log(most / least) * static_cast<double>(i) / static_cast<double>(bins)));
  histogram.edges.back() = most;
  auto begin = sorted.begin();
  for (size_t i = 0; i < bins; ++i) {
    const auto end =
        i + 1 == bins ? sorted.end() : std::lower_bound(begin, sorted.end(), histogram.edges[i + 1]);
    histogram.counts.push_back(end - begin);
    begin = end;
  }
  return histogram;
}

}  // namespace whittle
