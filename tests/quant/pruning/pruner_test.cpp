#include "quant/pruning/pruner.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>

#include "quant/gptq.h"
#include "quant/pruning/support_fit.h"
#include "tests/support/quantized_matrices.h"

using namespace whittle;
using namespace whittle::test;

namespace {

struct Problem {
  int64_t rows, cols;
  std::vector<float> weights;
  InputStatistics inputs;
  PruningTask task(const Sparsity& sparsity) const {
    return {.weights = weights, .rows = rows, .cols = cols, .sparsity = sparsity, .inputs = &inputs};
  }
  float h(int64_t i, int64_t j) const { return inputs.h[static_cast<size_t>(i * cols + j)]; }
  float weight(int64_t row, int64_t col) const { return weights[static_cast<size_t>(row * cols + col)]; }
  double damped(int64_t i, int64_t j, double damping = 0.01) const {
    double mean = 0;
    for (int64_t k = 0; k < cols; ++k) mean += static_cast<double>(h(k, k)) / static_cast<double>(cols);
    return static_cast<double>(h(i, j)) + (i == j ? damping * mean : 0);
  }
  // Σ (w − ŵ)(H + λI)(w − ŵ)ᵀ
  double error(const std::vector<float>& pruned) const {
    double sum = 0;
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t i = 0; i < cols; ++i)
        for (int64_t j = 0; j < cols; ++j)
          sum += (weight(row, i) - pruned[static_cast<size_t>(row * cols + i)]) * damped(i, j) *
                 (weight(row, j) - pruned[static_cast<size_t>(row * cols + j)]);
    return sum;
  }
};

Problem problem_of(SplitMix64& random, int64_t rows, int64_t cols) {
  const std::vector<float> x = correlated_inputs(random, 4 * cols, cols);
  Hessian hessian(cols);
  hessian.add(Team(1), {4 * cols, cols, x.data()});
  return {rows, cols, random_floats(random, rows * cols),
          input_statistics("test", std::move(hessian), GptqOptions(), Team(2))};
}

std::vector<Sparsity> sparsities() {
  return {{.zeros = 0.3},       {.zeros = 0.5},       {.zeros = 0.9},
          {.keep = 2, .of = 4}, {.keep = 4, .of = 8}, {.keep = 1, .of = 3}};
}

// After each column that goes, what is behind it moves by the inverse of what is behind it (Optimal Brain
// Surgeon in a fixed order), which SparseGPT is a fast form of.
std::vector<float> slow_sparsegpt(const Problem& problem, const Sparsity& sparsity) {
  const int64_t rows = problem.rows, cols = problem.cols;
  std::vector<Dense> inverses;  // of columns i, i + 1, …
  for (int64_t first = 0; first < cols; ++first) {
    const int64_t n = cols - first;
    Dense h;
    for (int64_t i = first; i < cols; ++i)
      for (int64_t j = first; j < cols; ++j) h.push_back(problem.damped(i, j));
    inverses.push_back(inverse_of(h, static_cast<size_t>(n)));
  }
  Dense left(problem.weights.begin(), problem.weights.end());
  const auto score = [&](int64_t row, int64_t col) {
    const double w = left[static_cast<size_t>(row * cols + col)];
    return static_cast<float>(w * w / inverses[static_cast<size_t>(col)][0]);
  };
  Mask mask;
  if (!sparsity.of) {  // one block
    std::vector<float> scores;
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t col = 0; col < cols; ++col) scores.push_back(score(row, col));
    mask = keep_highest(scores, cols, sparsity);
  } else {
    mask.resize(left.size());
  }
  for (int64_t col = 0; col < cols; ++col)
    for (int64_t row = 0; row < rows; ++row) {
      if (sparsity.of && col % sparsity.of == 0) {
        std::vector<float> scores;
        for (int64_t i = col; i < std::min(cols, col + sparsity.of); ++i) scores.push_back(score(row, i));
        const Mask group = keep_highest(scores, std::ssize(scores), sparsity);
        std::copy(group.begin(), group.end(), mask.begin() + row * cols + col);
      }
      const auto at = static_cast<size_t>(row * cols + col);
      if (mask[at]) continue;
      const Dense& inverse = inverses[static_cast<size_t>(col)];
      const double error = left[at] / inverse[0];
      left[at] = 0;
      for (int64_t j = col + 1; j < cols; ++j)
        left[static_cast<size_t>(row * cols + j)] -= error * inverse[static_cast<size_t>(j - col)];
    }
  return {left.begin(), left.end()};
}

// The best values of the weights that are not zero in `pruned`, by elimination.
std::vector<float> slow_fit(const Problem& problem, const std::vector<float>& pruned) {
  std::vector<float> fitted(pruned.size());
  for (int64_t row = 0; row < problem.rows; ++row) {
    std::vector<int64_t> support;
    for (int64_t k = 0; k < problem.cols; ++k)
      if (pruned[static_cast<size_t>(row * problem.cols + k)] != 0) support.push_back(k);
    Dense a;
    for (const int64_t i : support)
      for (const int64_t j : support) a.push_back(problem.damped(i, j));
    const Dense inverse = inverse_of(a, support.size());
    for (size_t i = 0; i < support.size(); ++i) {
      double value = 0;
      for (size_t j = 0; j < support.size(); ++j)
        for (int64_t k = 0; k < problem.cols; ++k)
          value += inverse[i * support.size() + j] * problem.damped(support[j], k) *
                   static_cast<double>(problem.weight(row, k));
      fitted[static_cast<size_t>(row * problem.cols + support[i])] = static_cast<float>(value);
    }
  }
  return fitted;
}

// The least error of one row over all choices of `keep` of its inputs.
double least_error(const Problem& problem, int64_t keep) {
  double least = INFINITY;
  for (uint32_t choice = 0; choice < 1u << problem.cols; ++choice) {
    if (std::popcount(choice) != keep) continue;
    std::vector<float> support;
    for (int64_t k = 0; k < problem.cols; ++k) support.push_back(static_cast<float>(choice >> k & 1));
    least = std::min(least, problem.error(slow_fit(problem, support)));
  }
  return least;
}

}  // namespace

TEST_CASE("Every method leaves as many zeros as it is asked for, the same for any number of threads") {
  SplitMix64 random(3);
  const Team one(1), three(3);
  for (const std::string_view method_name : pruning_method_names())
    for (const auto& [rows, cols] :
         std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {3, 33}, {31, 172}, {5, 300}}) {
      const Problem problem = problem_of(random, rows, cols);
      for (const Sparsity& sparsity : sparsities()) {
        CAPTURE(method_name, rows, cols, sparsity.text());
        const PruningMethod method = *pruning_method_named(method_name);
        const std::vector<float> pruned = prune(method, problem.task(sparsity), three);
        CHECK(pruned == prune(method, problem.task(sparsity), one));
        if (sparsity.of)
          for (int64_t row = 0; row < rows; ++row)
            for (int64_t begin = 0; begin < cols; begin += sparsity.of) {
              const int64_t end = std::min(cols, begin + sparsity.of);
              REQUIRE(end - begin -
                          std::count(pruned.begin() + row * cols + begin, pruned.begin() + row * cols + end,
                                     0.0f) ==
                      std::min(sparsity.keep, end - begin));
            }
        else
          // Wanda rounds for each row, SparseGPT for each block of columns.
          CHECK(std::abs(part_of_zeros(pruned) - sparsity.zeros) <=
                0.5 / static_cast<double>(
                          method == PruningMethod::wanda ? cols : std::min<int64_t>(rows * cols, 44 * rows)));
      }
    }
}

TEST_CASE("Nothing is pruned where nothing is asked for") {
  SplitMix64 random(4);
  const Problem problem = problem_of(random, 5, 33);
  for (const std::string_view name : pruning_method_names())
    CHECK(prune(*pruning_method_named(name), problem.task({}), Team(2)) == problem.weights);
  CHECK(prune_by_sparsegpt(problem.task({}), Team(2)) == problem.weights);
}

TEST_CASE("Magnitude and Wanda keep the largest, as they are") {
  SplitMix64 random(5);
  const Problem problem = problem_of(random, 9, 31);
  const Sparsity half{.zeros = 0.5};
  const auto kept_least = [&](const std::vector<float>& pruned, int64_t first, int64_t last, auto score) {
    float kept = INFINITY, gone = 0;
    for (int64_t i = first; i < last; ++i) {
      const auto at = static_cast<size_t>(i);
      if (pruned[at] != 0) {
        REQUIRE(pruned[at] == problem.weights[at]);
        kept = std::min(kept, score(i));
      } else {
        gone = std::max(gone, score(i));
      }
    }
    CHECK(kept >= gone);
  };
  const auto size = [&](int64_t i) { return std::abs(problem.weights[static_cast<size_t>(i)]); };
  kept_least(prune_by_magnitude(problem.task(half), Team(2)), 0, 9 * 31, size);
  const std::vector<float> by_wanda = prune_by_wanda(problem.task(half), Team(2));
  for (int64_t row = 0; row < 9; ++row)
    kept_least(by_wanda, row * 31, (row + 1) * 31,
               [&](int64_t i) { return size(i) * std::sqrt(problem.h(i % 31, i % 31)); });
}

TEST_CASE("SparseGPT is optimal brain surgery in a fixed order") {
  SplitMix64 random(6);
  for (const auto& [rows, cols] : std::vector<std::pair<int64_t, int64_t>>{{1, 3}, {7, 33}, {5, 100}}) {
    const Problem problem = problem_of(random, rows, cols);
    for (const Sparsity& sparsity : sparsities()) {
      CAPTURE(rows, cols, sparsity.text());
      const std::vector<float> found = prune_by_sparsegpt(problem.task(sparsity), Team(2)),
                               expected = slow_sparsegpt(problem, sparsity);
      for (size_t i = 0; i < found.size(); ++i) REQUIRE(std::abs(found[i] - expected[i]) < 2e-3);
    }
  }
}

TEST_CASE("What stays is fitted to where no other values would do better") {
  SplitMix64 random(7);
  for (const auto& [rows, cols] : std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {3, 31}, {5, 64}}) {
    const Problem problem = problem_of(random, rows, cols);
    const std::vector<float> start = prune_by_wanda(problem.task({.zeros = 0.5}), Team(1));
    std::vector<float> a;
    for (int64_t i = 0; i < cols; ++i)
      for (int64_t j = 0; j < cols; ++j) a.push_back(static_cast<float>(problem.damped(i, j)));
    std::vector<float> fitted = start;
    fit_support(fitted, problem.weights, a, cols, 4 * cols, Team(2));
    const std::vector<float> best = slow_fit(problem, start);
    for (size_t i = 0; i < fitted.size(); ++i) {
      REQUIRE((fitted[i] == 0) == (start[i] == 0));
      REQUIRE(std::abs(fitted[i] - best[i]) < 2e-3);
    }
    CHECK(problem.error(fitted) <= problem.error(start) * (1 + 1e-6));
  }
}

TEST_CASE("ALPS is near the best of all choices of weights, and ahead of SparseGPT") {
  SplitMix64 random(8);
  double found = 0, best = 0, before = 0;
  for (int i = 0; i < 10; ++i) {
    const Problem problem = problem_of(random, 1, 10);
    const double least = least_error(problem, 5);
    const double error = problem.error(prune_by_alps(problem.task({.zeros = 0.5}), Team(1)));
    CHECK(error >= least * (1 - 1e-4));
    found += error;
    best += least;
    before += problem.error(prune_by_sparsegpt(problem.task({.zeros = 0.5}), Team(1)));
  }
  CHECK(found < 1.25 * best);
  CHECK(found < before);
  for (const Sparsity& sparsity : sparsities()) {
    CAPTURE(sparsity.text());
    const Problem problem = problem_of(random, 20, 64);
    const std::vector<float> pruned = prune_by_alps(problem.task(sparsity), Team(2));
    CHECK(problem.error(pruned) < 0.95 * problem.error(prune_by_sparsegpt(problem.task(sparsity), Team(2))));
    CHECK(problem.error(pruned) < 1.01 * problem.error(slow_fit(problem, pruned)));
  }
}

TEST_CASE("Inputs that never vary, and weights that are all zero, are no trouble") {
  SplitMix64 random(9);
  Problem problem = problem_of(random, 4, 24);
  std::ranges::fill(problem.inputs.h, 0.0f);
  for (const std::string_view name : pruning_method_names())
    for (const Sparsity& sparsity : sparsities())
      for (const float value : prune(*pruning_method_named(name), problem.task(sparsity), Team(2)))
        REQUIRE(std::isfinite(value));
  problem = problem_of(random, 4, 24);
  std::ranges::fill(problem.weights, 0.0f);
  for (const std::string_view name : pruning_method_names())
    for (const Sparsity& sparsity : sparsities())
      CHECK(prune(*pruning_method_named(name), problem.task(sparsity), Team(2)) == problem.weights);
}

TEST_CASE("What is pruned stays zero as codes, and pruning nothing is rounding alone") {
  SplitMix64 random(10);
  const Team team(2);
  for (const WeightFormat format : {WeightFormat::int4, WeightFormat::int8})
    for (const bool symmetric : {true, false}) {
      CAPTURE(info(format).name, symmetric);
      const Problem problem = problem_of(random, 7, 96);
      const Matrix weights(problem.weights, 7, 96);
      const QuantizationScheme scheme = scheme_of(format, 32, symmetric);
      const auto rounded = [&](std::span<const float> pruned) {
        return values_of(gptq(weights.matrix, scheme, DType::F16, problem.inputs, {}, team, pruned));
      };
      const std::vector<float> pruned = prune(PruningMethod::alps, problem.task({.keep = 2, .of = 4}), team);
      const Dense codes = rounded(pruned);
      double joint = 0, apart = 0;
      const Matrix pruned_matrix(pruned, 7, 96);
      const Dense nearest = values_of(
          round_to_nearest(pruned_matrix.matrix, scheme, DType::F16, problem.inputs.importance.data(), team));
      for (size_t i = 0; i < codes.size(); ++i)
        if (pruned[i] == 0) REQUIRE(codes[i] == 0);
      joint = problem.error({codes.begin(), codes.end()});
      apart = problem.error({nearest.begin(), nearest.end()});
      CHECK(joint < apart);
      CHECK(rounded(prune(PruningMethod::sparsegpt, problem.task({}), team)) == rounded({}));
    }
}
