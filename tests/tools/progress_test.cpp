#include "tools/progress.h"

#include <catch2/catch.hpp>

using namespace whittle;

TEST_CASE("The time left is not said before there is a basis for it") {
  Remaining remaining;
  CHECK_FALSE(remaining.seconds(1, 3, 100));  // done before anybody looked: of unknown speed
  CHECK_FALSE(remaining.seconds(1, 3, 100.0000001));
  CHECK_FALSE(remaining.seconds(2, 3, 100.5));
  CHECK(remaining.seconds(2, 3, 104).value() == Approx(4));
  CHECK_FALSE(remaining.seconds(3, 3, 108));
  Remaining none;
  CHECK_FALSE(none.seconds(0, 10, 0));
  CHECK_FALSE(none.seconds(0, 10, 60));
  CHECK(none.seconds(5, 10, 60).value() == Approx(60));
}
