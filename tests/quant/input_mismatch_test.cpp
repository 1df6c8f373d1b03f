// Qronos' first step, and what follows it, against least squares solved anew for every column.

#include "quant/input_mismatch.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "quant/gptq.h"
#include "tests/support/quantized_matrices.h"

using namespace whittle;
using namespace whittle::test;

namespace {

// Inputs before quantization and behind it: [tokens, cols] each.
struct Inputs {
  std::vector<float> original, now;
  int64_t cols;

  // Mean of a·b of each two inputs, [cols, cols].
  Dense moment(const std::vector<float>& a, const std::vector<float>& b) const {
    const auto width = static_cast<size_t>(cols);
    Dense mean(width * width);
    for (size_t t = 0; t < now.size(); t += width)
      for (size_t i = 0; i < width; ++i)
        for (size_t j = 0; j < width; ++j)
          mean[i * width + j] += static_cast<double>(a[t + i]) * static_cast<double>(b[t + j]) *
                                 static_cast<double>(width) / static_cast<double>(now.size());
    return mean;
  }
  double mean_square() const {
    double sum = 0;
    for (const float value : now) sum += static_cast<double>(value) * static_cast<double>(value);
    return sum / static_cast<double>(now.size());
  }
  // Mean of |w·x₀ − v·x|².
  double error(const float* w, const double* v) const {
    double sum = 0;
    const auto width = static_cast<size_t>(cols);
    for (size_t t = 0; t < now.size(); t += width) {
      double difference = 0;
      for (size_t k = 0; k < width; ++k)
        difference += static_cast<double>(w[k]) * static_cast<double>(original[t + k]) -
                      v[k] * static_cast<double>(now[t + k]);
      sum += difference * difference;
    }
    return sum * static_cast<double>(cols) / static_cast<double>(now.size());
  }
  InputStatistics statistics(const GptqOptions& options) const {
    const Team team(2);
    Hessian hessian(cols);
    CrossMoment cross(cols);
    const int64_t tokens = std::ssize(now) / cols, part = tokens / 3;
    for (const auto& [begin, count] : {std::pair{int64_t{0}, part}, {part, tokens - part}}) {
      const FloatRows rows{count, cols, now.data() + begin * cols};
      hessian.add(team, rows);
      cross.add(team, rows, {count, cols, original.data() + begin * cols});
    }
    return input_statistics("test", std::move(hessian), options, Team(1), cross.mean(Team(1)));
  }
};

// kind 1: one token alone; 2: inputs that are zero behind quantized layers; 3: nothing but zeros.
Inputs some_inputs(SplitMix64& random, int64_t cols, int kind) {
  Inputs inputs{correlated_inputs(random, kind == 1 ? 1 : 3 * cols, cols), {}, cols};
  for (size_t i = 0; i < inputs.original.size(); ++i) {
    const bool dead = kind == 3 || (kind == 2 && i % static_cast<size_t>(cols) % 5 == 1);
    inputs.now.push_back(
        dead ? 0 : inputs.original[i] * random.uniform(0.7f, 1.1f) + random.uniform(-0.3f, 0.3f));
  }
  return inputs;
}

struct Moments {
  Dense h, g;
};

// The least squares of |w·x₀ − v·x|² + λ |w − v|² over the columns that are `free`, the others of v as they
// are.
void solve_free(const Moments& of, const float* w, double damping, const std::vector<size_t>& free,
                std::vector<double>& v) {
  const size_t n = free.size(), cols = v.size();
  std::vector<double> right(n);
  Dense a(n * n);
  std::vector<bool> is_free(cols);
  for (const size_t k : free) is_free[k] = true;
  for (size_t i = 0; i < n; ++i) {
    for (size_t k = 0; k < cols; ++k) right[i] += static_cast<double>(w[k]) * of.g[k * cols + free[i]];
    right[i] += damping * static_cast<double>(w[free[i]]);
    for (size_t k = 0; k < cols; ++k)
      if (!is_free[k]) right[i] -= v[k] * of.h[k * cols + free[i]];
    for (size_t j = 0; j < n; ++j) a[i * n + j] = of.h[free[i] * cols + free[j]] + (i == j ? damping : 0);
  }
  const Dense inverse = inverse_of(a, n);
  for (size_t i = 0; i < n; ++i) {
    v[free[i]] = 0;
    for (size_t j = 0; j < n; ++j) v[free[i]] += inverse[i * n + j] * right[j];
  }
}

std::vector<double> slow_row(const Moments& of, const float* w, const float* scales, size_t group_size,
                             const std::vector<int64_t>& order, double damping) {
  std::vector<double> v(w, w + order.size());
  const auto round = [&](size_t k, double value) {
    const auto scale = static_cast<double>(scales[k / group_size]);
    v[k] = std::clamp(std::rint(value / scale), -8.0, 7.0) * scale;
  };
  std::vector<size_t> free;
  for (const int64_t k : order) free.push_back(static_cast<size_t>(k));
  const size_t begin = free.front();
  double first = 0;
  for (size_t k = 0; k < v.size(); ++k) {
    first += static_cast<double>(w[k]) * of.g[k * v.size() + begin];
    if (k != begin) first -= static_cast<double>(w[k]) * of.h[k * v.size() + begin];
  }
  round(begin, first / of.h[begin * v.size() + begin]);
  for (free.erase(free.begin()); !free.empty(); free.erase(free.begin())) {
    solve_free(of, w, damping, free, v);
    round(free.front(), v[free.front()]);
  }
  return v;
}

}  // namespace

TEST_CASE(
    "With other inputs than the original's, each column is rounded from the least squares that are left") {
  SplitMix64 random(21);
  const Team team(2);
  for (const int64_t cols : {1, 3, 31, 40})
    for (const bool ordered : {true, false}) {
      CAPTURE(cols, ordered);
      const int64_t rows = 7;
      const Matrix weights(random_floats(random, rows * cols), rows, cols);
      const GptqOptions options{.activation_order = ordered, .rounds = 1, .ridge = 1e12, .beta = 0};
      const Inputs inputs = some_inputs(random, cols, 0);
      const Moments moments{inputs.moment(inputs.now, inputs.now),
                            inputs.moment(inputs.original, inputs.now)};
      const InputStatistics statistics = inputs.statistics(options);
      const QuantizationScheme scheme = scheme_of(WeightFormat::int4, 32);
      const QuantizedMatrix grid =
          round_to_nearest(weights.matrix, scheme, DType::F16, statistics.importance.data(), team);
      const Dense nearest = values_of(grid),
                  found = values_of(gptq(weights.matrix, scheme, DType::F16, statistics, options, team));
      for (int64_t row = 0; row < rows; ++row) {
        const float* w = weights.values.data() + row * cols;
        const double* plain = nearest.data() + row * cols;
        const std::vector<double> slow =
            slow_row(moments, w, grid.matrix.scales.data() + row * grid.matrix.groups(), 32, statistics.order,
                     options.damping * inputs.mean_square());
        const double* best = inputs.error(w, slow.data()) < inputs.error(w, plain) ? slow.data() : plain;
        for (int64_t k = 0; k < cols; ++k)
          REQUIRE(std::abs(found[static_cast<size_t>(row * cols + k)] - best[k]) < 1e-6);
      }
    }
}

TEST_CASE(
    "No row's error for other inputs is above that of rounding to nearest, and scales fit those inputs") {
  SplitMix64 random(22);
  const Team team(2);
  double repaired = 0, fed = 0, nearest = 0;
  for (const bool symmetric : {true, false})
    for (const double beta : {0.0, 0.2})
      for (const auto& [rows, cols] :
           std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {3, 33}, {31, 172}, {5, 64}})
        for (const int kind : {0, 1, 2, 3}) {
          CAPTURE(symmetric, beta, rows, cols, kind);
          std::vector<float> values = random_floats(random, rows * cols);
          std::fill_n(values.begin(), cols, 0.0f);
          if (rows > 1) values[static_cast<size_t>(cols)] = 40;
          const Matrix weights(std::move(values), rows, cols);
          const Inputs inputs = some_inputs(random, cols, kind);
          const GptqOptions options{.beta = beta};
          InputStatistics statistics = inputs.statistics(options);
          const QuantizationScheme scheme = scheme_of(WeightFormat::int4, 32, symmetric);
          const auto run = [&] {
            return values_of(gptq(weights.matrix, scheme, DType::F16, statistics, options, team));
          };
          const Dense after = run();
          statistics.cross.clear();
          const Dense without = run(),
                      before = values_of(round_to_nearest(weights.matrix, scheme, DType::F16,
                                                          statistics.importance.data(), team));
          for (int64_t at = 0; at < rows * cols; at += cols) {
            const float* w = weights.values.data() + at;
            const double was = inputs.error(w, before.data() + at), is = inputs.error(w, after.data() + at);
            REQUIRE(is <= was * (1 + 1e-4) + 1e-6);
            nearest += was;
            repaired += is;
            fed += inputs.error(w, without.data() + at);
          }
        }
  CHECK(fed < nearest);
  CHECK(repaired < 0.95 * fed);  // some rows are beyond repair
}

TEST_CASE("Inputs that did not change leave the weights as they were, bit for bit") {
  SplitMix64 random(23);
  const Team team(2);
  const int64_t rows = 5, cols = 100;
  const Matrix weights(random_floats(random, rows * cols), rows, cols);
  Inputs inputs = some_inputs(random, cols, 0);
  inputs.now = inputs.original;
  InputStatistics statistics = inputs.statistics({});
  const QuantizationScheme scheme = scheme_of(WeightFormat::int4, 32);
  CHECK(input_mismatch(weights.values, rows, statistics, team).weights == weights.values);
  const Dense repaired = values_of(gptq(weights.matrix, scheme, DType::F16, statistics, {}, team));
  statistics.cross.clear();
  CHECK(repaired == values_of(gptq(weights.matrix, scheme, DType::F16, statistics, {}, team)));
}
