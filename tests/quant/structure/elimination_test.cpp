#include "quant/structure/elimination.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <limits>
#include <numeric>

#include "tests/support/small_matrices.h"
#include "tests/support/tiny_model.h"

using namespace whittle;
using namespace whittle::test;

namespace {

struct Problem {
  int64_t rows, cols;
  std::vector<float> weights, h;
};

// Inputs that hang together, so that some can stand in for others.
Problem problem(int64_t rows, int64_t cols, uint64_t seed) {
  SplitMix64 random(seed);
  Problem out{rows, cols, {}, std::vector<float>(static_cast<size_t>(cols * cols))};
  for (int64_t i = 0; i < rows * cols; ++i) out.weights.push_back(random.uniform(-1, 1));
  for (int64_t t = 0; t < 3 * cols; ++t) {
    std::vector<float> x;
    for (int64_t k = 0; k < cols; ++k) x.push_back(random.uniform(-1, 1) + (k ? 0.8f * x.back() : 0));
    for (int64_t i = 0; i < cols; ++i)
      for (int64_t j = 0; j < cols; ++j)
        out.h[static_cast<size_t>(i * cols + j)] +=
            x[static_cast<size_t>(i)] * x[static_cast<size_t>(j)] / static_cast<float>(3 * cols);
  }
  return out;
}

// What the best weights for the other inputs leave of the outputs' power, by the normal equations.
double slow_error(const Problem& problem, const std::vector<int64_t>& gone, int64_t width) {
  const SmallMatrix w(problem.rows, problem.cols, problem.weights);
  SmallMatrix h(problem.cols, problem.cols, problem.h);
  const double damping = 0.01 * h.mean_diagonal();
  for (int64_t i = 0; i < h.rows; ++i) h.at(i, i) += damping;
  std::vector<int64_t> left;
  for (int64_t c = 0; c < problem.cols; ++c)
    if (std::ranges::find(gone, c / width) == gone.end()) left.push_back(c);
  const SmallMatrix wh = w * h;
  double power = 0;
  for (size_t i = 0; i < w.values.size(); ++i) power += wh.values[i] * w.values[i];
  if (left.empty()) return power;
  const SmallMatrix some = wh.take(left), corner = h.take(left).turned().take(left),
                    fitted = solved(corner, some.turned()).turned();
  for (size_t i = 0; i < some.values.size(); ++i) power -= some.values[i] * fitted.values[i];
  return power;
}

}  // namespace

TEST_CASE("Each group that goes is the one whose loss the others make good best") {
  const struct {
    int64_t rows, cols, width;
  } cases[] = {{1, 1, 1}, {3, 7, 1}, {5, 33, 1}, {4, 12, 3}, {2, 31, 31}, {7, 40, 8}};
  for (const auto& [rows, cols, width] : cases) {
    CAPTURE(rows, cols, width);
    const Problem of = problem(rows, cols, static_cast<uint64_t>(cols));
    const Elimination found = eliminate(of.weights, rows, of.h, cols, width, 1, Team(2));
    CHECK(found.errors == eliminate(of.weights, rows, of.h, cols, width, 1, Team(1)).errors);
    const int64_t groups = cols / width;
    REQUIRE(std::ssize(found.order) == groups);
    REQUIRE(std::ssize(found.errors) == groups + 1);
    CHECK(found.errors[0] == 0);
    std::vector<int64_t> gone;
    for (int64_t step = 0; step < groups; ++step) {
      double least = std::numeric_limits<double>::infinity();
      for (int64_t group = 0; group < groups; ++group) {
        if (std::ranges::find(gone, group) != gone.end()) continue;
        std::vector<int64_t> with = gone;
        with.push_back(group);
        least = std::min(least, slow_error(of, with, width));
      }
      gone.push_back(found.order[static_cast<size_t>(step)]);
      // The factor of the inverse is float32.
      CHECK(slow_error(of, gone, width) == Approx(least).epsilon(1e-4));
      CHECK(found.errors[static_cast<size_t>(step + 1)] == Approx(least).epsilon(1e-4));
    }
    CHECK(found.kept(0).empty());
    std::vector<int64_t> kept = found.kept(groups);
    std::vector<int64_t> all(static_cast<size_t>(groups));
    std::iota(all.begin(), all.end(), 0);
    CHECK(kept == all);
  }
}

TEST_CASE("Groups that go together cost what they cost together") {
  const Problem of = problem(6, 35, 4);
  const Elimination found = eliminate(of.weights, 6, of.h, 35, 1, 4, Team(2));
  REQUIRE(found.errors.size() == 36);
  for (size_t count : {size_t{4}, size_t{8}, size_t{32}, size_t{35}}) {
    const std::vector<int64_t> gone(found.order.begin(),
                                    found.order.begin() + static_cast<std::ptrdiff_t>(count));
    CHECK(found.errors[count] == Approx(slow_error(of, gone, 1)).epsilon(1e-4));
  }
  CHECK(std::ranges::is_sorted(found.errors));
}

TEST_CASE("Inputs that are always zero, or have no weight, go first and cost nothing") {
  Problem of = problem(5, 20, 8);
  for (const int64_t input : {3, 17})
    for (int64_t i = 0; i < 20; ++i)
      of.h[static_cast<size_t>(input * 20 + i)] = of.h[static_cast<size_t>(i * 20 + input)] = 0;
  for (int64_t row = 0; row < 5; ++row) of.weights[static_cast<size_t>(row * 20 + 9)] = 0;
  const Elimination found = eliminate(of.weights, 5, of.h, 20, 1, 1, Team(1));
  std::vector<int64_t> first(found.order.begin(), found.order.begin() + 1);
  CHECK(first == std::vector<int64_t>{9});
  CHECK(found.errors[1] == Approx(0).margin(1e-9));
  // Damping gives an input that is never there a price.
  CHECK(found.errors[3] < 0.02 * found.errors[20]);
}
