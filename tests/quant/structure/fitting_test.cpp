#include "quant/structure/fitting.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "tests/support/small_matrices.h"
#include "tests/support/tiny_model.h"

using namespace whittle;
using namespace whittle::test;

namespace {

struct Data {
  std::vector<float> x, e, weight;  // [tokens, cols], [tokens, rows], [tokens]
};

// What lacks is in part a function of the inputs.
Data data(int64_t tokens, int64_t rows, int64_t cols, uint64_t seed) {
  SplitMix64 random(seed), fixed(5);
  std::vector<float> map;
  for (int64_t i = 0; i < rows * cols; ++i) map.push_back(fixed.uniform(-1, 1));
  Data out;
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t k = 0; k < cols; ++k) out.x.push_back(random.uniform(-1, 2));
    for (int64_t n = 0; n < rows; ++n) {
      float sum = 0.5f + random.uniform(-1, 1);
      for (int64_t k = 0; k < cols; ++k)
        sum += map[static_cast<size_t>(n * cols + k)] * out.x[static_cast<size_t>(t * cols + k)];
      out.e.push_back(sum);
    }
    out.weight.push_back(random.uniform(0.5f, 2));
  }
  return out;
}

// Inputs with a one behind them where there is a bias, and what lacks without what is gone; weighted.
std::pair<SmallMatrix, SmallMatrix> problem(const Data& of, const std::vector<float>& weights, int64_t rows,
                                            int64_t cols, const std::vector<int64_t>& kept, bool bias) {
  const int64_t tokens = std::ssize(of.weight), count = std::ssize(kept);
  const SmallMatrix all(tokens, cols, of.x);
  SmallMatrix lost(rows, cols, weights), x(tokens, count + bias);
  for (const int64_t col : kept)
    for (int64_t row = 0; row < rows; ++row) lost.at(row, col) = 0;
  SmallMatrix e = plus(SmallMatrix(tokens, rows, of.e), all * lost.turned());
  for (int64_t t = 0; t < tokens; ++t) {
    const auto weight = static_cast<double>(of.weight[static_cast<size_t>(t)]);
    for (int64_t k = 0; k < count; ++k) x.at(t, k) = weight * all.at(t, kept[static_cast<size_t>(k)]);
    if (bias) x.at(t, count) = weight;
    for (int64_t n = 0; n < rows; ++n) e.at(t, n) *= weight;
  }
  return {x, e};
}

}  // namespace

TEST_CASE("A fit is the least squares solution that leaves the judged tokens least") {
  const struct {
    int64_t rows, cols, tokens;
    std::vector<int64_t> kept;
  } cases[] = {{1, 1, 50, {0}},
               {3, 3, 40, {0, 2}},
               {5, 31, 500, {0, 1, 2, 3, 7, 8, 30}},
               {4, 33, 60, {1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 20, 21, 22, 23, 24, 25, 26, 27, 28}},
               {2, 9, 100, {0, 1, 2, 3, 4, 5, 6, 7, 8}}};
  const Team team(2);
  for (const auto& [rows, cols, tokens, kept] : cases)
    for (const bool bias : {false, true}) {
      CAPTURE(rows, cols, tokens, bias);
      SplitMix64 random(2);
      std::vector<float> weights;
      for (int64_t i = 0; i < rows * cols; ++i) weights.push_back(random.uniform(-1, 1));
      const Data learned = data(tokens, rows, cols, 3), judged = data(30, rows, cols, 4);
      StreamStatistics statistics(rows, cols, bias);
      statistics.add(team, {tokens, cols, learned.x.data()}, {tokens, rows, learned.e.data()}, learned.weight,
                     false);
      statistics.add(team, {30, cols, judged.x.data()}, {30, rows, judged.e.data()}, judged.weight, true);
      statistics.finish(team);
      const Fit fit = fit_stream(statistics, weights, kept, true, team);

      const auto [x, e] = problem(learned, weights, rows, cols, kept, bias);
      const auto [judged_x, judged_e] = problem(judged, weights, rows, cols, kept, bias);
      const SmallMatrix h = x.turned() * x, c = x.turned() * e;
      double least = judged_e.squares();
      CHECK(fit.before == Approx(least).epsilon(1e-4));
      SmallMatrix best(rows, x.cols);
      for (const double ridge : {0.001, 0.01, 0.1, 1.0}) {
        SmallMatrix damped = h;
        for (int64_t i = 0; i < h.rows; ++i) damped.at(i, i) += ridge * h.mean_diagonal();
        const SmallMatrix step = solved(damped, c);
        const double left = plus(judged_e, judged_x * step, -1).squares();
        if (left < least) least = left, best = step.turned();
      }
      CHECK(fit.after == Approx(least).epsilon(1e-3));
      if (cols > 1) CHECK(fit.after < fit.before);
      const auto count = std::ssize(kept);
      for (int64_t n = 0; n < rows; ++n) {
        for (int64_t k = 0; k < count; ++k) {
          const auto was =
              static_cast<double>(weights[static_cast<size_t>(n * cols + kept[static_cast<size_t>(k)])]);
          CHECK(static_cast<double>(fit.weights[static_cast<size_t>(n * count + k)]) ==
                Approx(was + best.at(n, k)).margin(2e-3));
        }
        if (bias)
          CHECK(static_cast<double>(fit.bias[static_cast<size_t>(n)]) ==
                Approx(best.at(n, count)).margin(2e-3));
      }
      // Unfitted: as they were.
      const Fit same = fit_stream(statistics, weights, kept, false, team);
      for (int64_t n = 0; n < rows; ++n)
        for (int64_t k = 0; k < count; ++k)
          CHECK(same.weights[static_cast<size_t>(n * count + k)] ==
                weights[static_cast<size_t>(n * cols + kept[static_cast<size_t>(k)])]);
      CHECK(same.after == same.before);
      CHECK(fit.weights == fit_stream(statistics, weights, kept, true, Team(1)).weights);
    }
}

TEST_CASE("Nothing is fitted to noise that the judged tokens do not share") {
  const Team team(1);
  const int64_t rows = 4, cols = 30, tokens = 30;
  SplitMix64 random(9);
  const auto noise = [&](int64_t count) {
    std::vector<float> values;
    for (int64_t i = 0; i < count; ++i) values.push_back(random.uniform(-1, 1));
    return values;
  };
  StreamStatistics statistics(rows, cols, false);
  const std::vector<float> ones(static_cast<size_t>(tokens), 1.0f),
      x = noise(tokens * cols), e = noise(tokens * rows), other_x = noise(tokens * cols),
      zero(static_cast<size_t>(tokens * rows), 1e-3f);
  statistics.add(team, {tokens, cols, x.data()}, {tokens, rows, e.data()}, ones, false);
  statistics.add(team, {tokens, cols, other_x.data()}, {tokens, rows, zero.data()}, ones, true);
  statistics.finish(team);
  std::vector<int64_t> all;
  for (int64_t k = 0; k < cols; ++k) all.push_back(k);
  const std::vector<float> weights = noise(rows * cols);
  const Fit fit = fit_stream(statistics, weights, all, true, team);
  CHECK(fit.weights == weights);
  CHECK(fit.after == fit.before);
}
