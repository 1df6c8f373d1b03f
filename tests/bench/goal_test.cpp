// The search for a number of sequences, on made-up machines.

#include "bench/goal.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <map>

using namespace whittle;

namespace {

// Steps of `sequences` take a + b · sequences ms.
SequenceSearch search(double limit, int64_t most, double a, double b) {
  return search_sequences(limit, most, [&](int64_t sequences) {
    const double ms = a + b * static_cast<double>(sequences);
    return Tried{sequences, 1e3 * static_cast<double>(sequences) / ms, ms};
  });
}

int64_t best_of(const SequenceSearch& search) {
  return search.best ? search.tried[*search.best].sequences : 0;
}

}  // namespace

TEST_CASE("the most tokens a second within the limit are found to a sixteenth, each number tried once") {
  for (const int64_t right : {1, 2, 3, 5, 8, 15, 16, 17, 31, 100, 127, 128, 129, 200, 255}) {
    const SequenceSearch found = search(10 + 0.5 * static_cast<double>(right) + 0.25, 256, 10, 0.5);
    INFO(right);
    CHECK(best_of(found) <= right);
    CHECK(best_of(found) + std::max<int64_t>(1, best_of(found) / 16) > right);
    if (right <= 31) CHECK(best_of(found) == right);
    std::map<int64_t, int> times;
    for (const Tried& tried : found.tried) CHECK(++times[tried.sequences] == 1);
    CHECK(found.tried.size() <= 2 + 2 * static_cast<size_t>(std::log2(2 * right)));
  }
}

TEST_CASE("the search ends at the most that may be tried, and finds nothing where one is too many") {
  const SequenceSearch all = search(1e9, 100, 10, 1);
  CHECK(best_of(all) == 100);
  CHECK(all.tried.back().sequences == 100);
  CHECK(all.tried.size() == 8);  // 1, 2, 4, … 64, 100
  CHECK(best_of(search(1e9, 1, 10, 1)) == 1);
  const SequenceSearch none = search(10, 256, 10, 1);
  CHECK_FALSE(none.best);
  CHECK(none.tried.size() == 1);
  const SequenceSearch unknown = search(10, 256, NAN, 1);  // never within
  CHECK_FALSE(unknown.best);
}

TEST_CASE("of what was tried, fewer sequences win where they make more tokens a second") {
  const SequenceSearch found = search_sequences(50, 16, [](int64_t sequences) {
    return Tried{sequences, sequences == 4 ? 1000.0 : 10.0 * static_cast<double>(sequences), 1};
  });
  CHECK(best_of(found) == 4);
}
