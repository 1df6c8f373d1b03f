#include "bench/idle_cpus.h"

#include <catch2/catch.hpp>
#include <vector>

using namespace whittle;

namespace {

constexpr const char* earlier =
    "cpu  100 0 100 1800 0 0 0 0 0 0\ncpu0 50 0 50 900 0 0 0 0 0 0\ncpu1 50 0 50 900 0 0 0 0 0 0\n"
    "intr 5\n";

std::optional<double> idle(const std::string& later, const std::vector<int>& cpus = {0, 1}) {
  return idle_cpus(earlier, later, cpus);
}

}  // namespace

TEST_CASE("Idle time and waiting for disks leave a CPU to us") {
  CHECK(idle("cpu0 50 0 50 950 0 0 0 0 0 0\ncpu1 50 0 50 900 50 0 0 0 0 0\n") == Approx(2));
  CHECK(idle("cpu0 50 0 50 950 0 0 0 0 0 0\ncpu1 100 0 50 900 0 0 0 0 0 0\n") == Approx(1));
  CHECK(idle("cpu0 50 0 60 900 0 0 0 40 0 0\ncpu1 50 25 50 925 0 0 0 0 0 0\n") == Approx(0.5));
  CHECK(idle("cpu0 50 0 50 950 0 0 0 0 0 0\ncpu1 100 0 50 900 0 0 0 0 0 0\n", {1}) == Approx(0));
  // Time of guests is in user's already.
  CHECK(idle("cpu0 75 0 50 925 0 0 0 0 25 0\n", {0}) == Approx(0.5));
}

TEST_CASE("What the system does not say is not made up") {
  CHECK_FALSE(idle(""));
  CHECK_FALSE(idle(earlier));  // no time has passed
  CHECK_FALSE(idle("cpu0 50 0 50 950 0 0 0 0 0 0\n"));
  CHECK_FALSE(idle("cpu0 x\ncpu1\n"));
  CHECK_FALSE(idle("cpux 1 2 3\n\n\n"));
}

TEST_CASE("There is always a CPU for one thread, and never for more than asked for") {
  for (const int most : {1, 2, 64}) {
    const int threads = threads_without_neighbours(most);
    CHECK(threads >= 1);
    CHECK(threads <= most);
  }
}
