#include "bench/gate.h"

#include <catch2/catch.hpp>
#include <limits>

using namespace whittle;

namespace {

Gate gate(double limit, Interval found) { return {"max_kl", "mean KL divergence", limit, found}; }

}  // namespace

TEST_CASE(
    "A gate is kept or exceeded where the whole interval is, and else undecided and judged by its mean") {
  CHECK(gate(0.03, {0.01, 0.005, 0.02}).verdict() == Verdict::kept);
  CHECK(gate(0.03, {0.01, 0.005, 0.03}).verdict() == Verdict::kept);
  CHECK(gate(0.03, {0.04, 0.031, 0.05}).verdict() == Verdict::exceeded);
  const Gate below = gate(0.03, {0.025, 0.01, 0.04}), above = gate(0.03, {0.035, 0.01, 0.06});
  CHECK(below.verdict() == Verdict::undecided);
  CHECK(above.verdict() == Verdict::undecided);
  CHECK(below.passes());
  CHECK_FALSE(above.passes());
  CHECK(gate(0, {0, 0, 0}).verdict() == Verdict::kept);
  // A mean that weighs windows by their tokens may lie beyond the interval of the windows' own means.
  CHECK(gate(0.03, {0.035, 0.01, 0.02}).verdict() == Verdict::undecided);
  CHECK(gate(0.03, {0.025, 0.04, 0.05}).verdict() == Verdict::undecided);
}

TEST_CASE("A gate never passes against its verdict, nor with a figure that is no finite number") {
  const double infinity = std::numeric_limits<double>::infinity();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const double mean : {0.0, 0.02, 0.03, 0.04, infinity, -infinity, nan})
    for (const double low : {0.0, 0.03, 0.031, -infinity, nan})
      for (const double high : {0.02, 0.03, 0.05, infinity, nan})
        for (const double limit : {0.0, 0.03, 1e300, infinity, nan}) {
          const Gate tested = gate(limit, {mean, low, high});
          CAPTURE(mean, low, high, limit);
          if (tested.verdict() == Verdict::kept) CHECK(tested.passes());
          if (tested.verdict() == Verdict::exceeded) CHECK_FALSE(tested.passes());
          if (!std::isfinite(mean)) CHECK(tested.verdict() == Verdict::exceeded);
          const std::string json = gates_json(std::vector{tested}).dump();
          for (const char* text : {"inf", "nan"}) CHECK(json.find(text) == std::string::npos);
        }
}

TEST_CASE("A single window decides nothing, and the report says so and what would") {
  const double infinity = std::numeric_limits<double>::infinity();
  const Gate one = gate(0.03, {0.01, -infinity, infinity});
  CHECK(one.verdict() == Verdict::undecided);
  CHECK(one.passes());
  CHECK_THAT(gate_text(one, 1), Catch::Contains("undecided") && Catch::Contains("unknown") &&
                                    Catch::Contains("1 window cannot decide") &&
                                    Catch::Contains("the mean does: kept"));
  const Gate two = gate(0.03, {0.04, 0.02, 0.06});
  CHECK_THAT(gate_text(two, 4), Catch::Contains("4 windows cannot decide") &&
                                    Catch::Contains("the mean does: exceeded") &&
                                    Catch::Contains("0.02 to 0.06"));
  CHECK_THAT(gate_text(gate(0.03, {0.01, 0, 0.02}), 9),
             Catch::Contains("gate kept") && !Catch::Contains("windows"));
  const nlohmann::json json = gates_json(std::vector{one, two});
  CHECK(json[0]["name"] == "max_kl");
  CHECK(json[0]["verdict"] == "undecided");
  CHECK(json[0]["passes"] == true);
  CHECK(json[0]["found_ci95"] == nlohmann::json::array({nullptr, nullptr}));
  CHECK(json[1]["passes"] == false);
  CHECK(json[1]["limit"] == 0.03);
  CHECK(json[1]["found"] == 0.04);
}
