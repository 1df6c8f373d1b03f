#include "bench/reports/figures.h"

#include <catch2/catch.hpp>
#include <limits>

using namespace whittle;

TEST_CASE("A figure that is no finite number is shown as such, and null in JSON") {
  const double infinity = std::numeric_limits<double>::infinity();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(format_fixed(19.117314, 5) == "19.11731");
  CHECK(format_signed(0.654, 2) == "+0.65");
  CHECK(format_signed(-0.654, 2) == "-0.65");
  for (const double bad : {nan, -nan, nan + 1}) {
    CHECK(format_fixed(bad, 3) == "–");
    CHECK(format_signed(bad, 3) == "–");
    CHECK(format_general(bad) == "–");
    CHECK(or_null(bad).is_null());
  }
  CHECK(format_fixed(infinity, 3) == "∞");
  CHECK(format_signed(-infinity, 3) == "−∞");
  CHECK(or_null(infinity).is_null());
  CHECK(or_null(0.5) == 0.5);
  CHECK(or_null(std::optional<double>()).is_null());
  CHECK(or_null(std::optional<double>(infinity)).is_null());
  CHECK(or_null(std::optional<int>(3)) == 3);

  CHECK(format_interval({1, 0.5, 1.5}, " %") == "0.5 to 1.5 %");
  CHECK(format_interval({1, -infinity, infinity}, " %") == "unknown");
  CHECK(format_interval({1, 0.5, infinity}, " %") == "0.5 to ∞ %");
  CHECK(bounds_json({1, -infinity, 2}) == nlohmann::json::array({nullptr, 2.0}));
  CHECK(spread_json({0, nan, nan, nan, nan})["median"].is_null());
  CHECK(spread_json({3, 2, 1, 4, 0.5})["mad"] == 0.5);
}
