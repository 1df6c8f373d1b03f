#include "quant/format_times.h"

#include <catch2/catch.hpp>

#include "quant/recipe.h"

using namespace whittle;

// How long anything takes is never asserted.
TEST_CASE("Times of formats are known for every shape, once and for all") {
  const Team team(2);
  FormatTimes times(team);
  for (const ModuleFormat& format : {ModuleFormat{WeightFormat::int4, 32},
                                     {WeightFormat::int5, 128},
                                     {WeightFormat::int6, 32},
                                     {WeightFormat::int8, 0}})
    for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{1, 1}, {33, 172}, {200, 256}}) {
      const QuantizationScheme scheme = linear_scheme({}, format);
      const int64_t first = times.nanoseconds(scheme, rows, cols);
      CHECK(first > 0);
      CHECK(times.nanoseconds(scheme, rows, cols) == first);
    }
}
