#include "quant/gptq.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>

#include "kernels/error.h"
#include "quant/inverse_factor.h"
#include "quant/product.h"
#include "tests/support/quantized_matrices.h"

using namespace whittle;
using namespace whittle::test;

namespace {

// (w − ŵ) H (w − ŵ)ᵀ of each row, term by term.
Dense slow_errors(const std::vector<float>& weights, const Dense& restored, const std::vector<float>& h,
                  size_t cols) {
  Dense errors;
  for (size_t row = 0; row < weights.size() / cols; ++row) {
    double error = 0;
    for (size_t i = 0; i < cols; ++i)
      for (size_t j = 0; j < cols; ++j)
        error += (static_cast<double>(weights[row * cols + i]) - restored[row * cols + i]) *
                 static_cast<double>(h[i * cols + j]) *
                 (static_cast<double>(weights[row * cols + j]) - restored[row * cols + j]);
    errors.push_back(error);
  }
  return errors;
}

// Optimal Brain Quantization in a fixed order of columns (arXiv 2208.11580), which GPTQ is a fast form of:
// after each column, what is left moves by the inverse Hessian of the columns that are left. beta: FOEM.
Dense slow_feedback(const std::vector<float>& weights, const QuantizedMatrix& grid,
                    const InputStatistics& inputs, double damping, double beta) {
  const size_t cols = inputs.importance.size(), rows = weights.size() / cols;
  const auto group_size = static_cast<size_t>(grid.matrix.group_size),
             groups = static_cast<size_t>(grid.matrix.groups());
  double mean = 0;
  for (size_t k = 0; k < cols; ++k)
    mean += static_cast<double>(inputs.h[k * cols + k]) / static_cast<double>(cols);
  Dense left(weights.begin(), weights.end()), restored(weights.size());
  std::vector<size_t> free(cols);
  for (size_t i = 0; i < cols; ++i) free[i] = static_cast<size_t>(inputs.order[i]);
  while (!free.empty()) {
    const size_t n = free.size(), k = free[0];
    Dense h(n * n);
    for (size_t i = 0; i < n; ++i)
      for (size_t j = 0; j < n; ++j)
        h[i * n + j] =
            static_cast<double>(inputs.h[free[i] * cols + free[j]]) + (i == j ? damping * mean : 0);
    const Dense inverse = inverse_of(h, n);
    for (size_t row = 0; row < rows; ++row) {
      const double scale = static_cast<double>(grid.matrix.scales[row * groups + k / group_size]);
      const double w = left[row * cols + k];
      const double code = std::clamp(std::rint(w / scale), -8.0, 7.0);
      restored[row * cols + k] = code * scale;
      const double moved = w - static_cast<double>(weights[row * cols + k]);
      for (size_t j = 1; j < n; ++j)
        left[row * cols + free[j]] -= (w - code * scale - beta * moved) / inverse[0] * inverse[j];
    }
    free.erase(free.begin());
  }
  return restored;
}

InputStatistics statistics_of(const std::vector<float>& inputs, int64_t cols,
                              const GptqOptions& options = {}) {
  const Team team(1);
  Hessian hessian(cols);
  hessian.add(team, {std::ssize(inputs) / cols, cols, inputs.data()});
  return input_statistics("test", std::move(hessian), options, Team(2));
}

}  // namespace

TEST_CASE("A product of matrices is the sum of products, for any number of threads") {
  SplitMix64 random(3);
  for (const auto& [m, n, k] :
       std::vector<std::array<int64_t, 3>>{{1, 1, 1}, {3, 65, 31}, {33, 172, 64}, {130, 31, 33}}) {
    const std::vector<float> a = random_floats(random, m * (k + 5)), b = random_floats(random, n * (k + 2));
    const Team one(1), three(3);
    const Product single(one, {m, k + 5, a.data()}, k, b.data(), n, k + 2),
        shared(three, {m, k + 5, a.data()}, k, b.data(), n, k + 2);
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) {
        double sum = 0;
        for (int64_t c = 0; c < k; ++c)
          sum += static_cast<double>(a[static_cast<size_t>(i * (k + 5) + c)]) *
                 static_cast<double>(b[static_cast<size_t>(j * (k + 2) + c)]);
        REQUIRE(std::abs(static_cast<double>(single.row(i)[j]) - sum) <= static_cast<double>(k) * 0x1p-23);
        REQUIRE(shared.row(i)[j] == single.row(i)[j]);
      }
  }
}

TEST_CASE("The Hessian is the mean of x·xᵀ, the same bits for any number of threads and exactly symmetric") {
  SplitMix64 random(4);
  // One of them more rows than wait for a product.
  for (const auto& [cols, rows] : std::vector<std::pair<int64_t, int64_t>>{
           {1, 37}, {31, 2 * RowBatch::most_rows + 5}, {64, 37}, {130, 37}}) {
    const std::vector<float> x = random_floats(random, rows * (cols + 3));
    const Team one(1), two(2);
    Hessian single(cols), shared(cols);
    for (Hessian* hessian : {&single, &shared}) {
      const Team& team = hessian == &single ? one : two;
      hessian->add(team, {20, cols + 3, x.data()});
      hessian->add(team, {rows - 20, cols + 3, x.data() + 20 * (cols + 3)});
    }
    const std::vector<float> mean = single.mean(Team(1));
    CHECK(mean == shared.mean(Team(2)));
    for (int64_t i = 0; i < cols; ++i)
      for (int64_t j = 0; j < cols; ++j) {
        double sum = 0;
        for (int64_t t = 0; t < rows; ++t)
          sum += static_cast<double>(x[static_cast<size_t>(t * (cols + 3) + i)]) *
                 static_cast<double>(x[static_cast<size_t>(t * (cols + 3) + j)]);
        const double batch = static_cast<double>(std::min(rows, RowBatch::most_rows));
        REQUIRE(std::abs(static_cast<double>(mean[static_cast<size_t>(i * cols + j)]) -
                         sum / static_cast<double>(rows)) < batch * 0x1p-23);
        REQUIRE(mean[static_cast<size_t>(i * cols + j)] == mean[static_cast<size_t>(j * cols + i)]);
      }
  }
  CHECK(Hessian(3).mean(Team(1)) == std::vector<float>(9));
}

TEST_CASE("UᵀU is the inverse of the damped Hessian, singular or not") {
  SplitMix64 random(5);
  for (const int64_t n : {1, 2, 33, 100, 300, 600})
    for (const int64_t seen : {int64_t{1}, 3 * n}) {  // one row of inputs: rank 1
      const std::vector<float> x = random_floats(random, seen * n);
      const InputStatistics inputs = statistics_of(x, n);
      const double damping = 0.01;
      const std::vector<float> u = inverse_factor(inputs.h, n, damping, Team(2));
      const auto size = static_cast<size_t>(n);
      double mean = 0;
      for (size_t i = 0; i < size; ++i)
        mean += static_cast<double>(inputs.h[i * size + i]) / static_cast<double>(n);
      // (UᵀU)·(H + λI) = I
      for (size_t i = 0; i < size; ++i) {
        Dense row(size);
        for (size_t j = 0; j < size; ++j)
          for (size_t k = 0; k <= std::min(i, j); ++k)
            row[j] += static_cast<double>(u[k * size + i]) * static_cast<double>(u[k * size + j]);
        for (size_t j = 0; j < size; ++j) {
          double entry = 0;
          for (size_t k = 0; k < size; ++k)
            entry += row[k] * (static_cast<double>(inputs.h[k * size + j]) + (k == j ? damping * mean : 0));
          REQUIRE(std::abs(entry - (i == j)) < 2e-3);
        }
        for (size_t j = 0; j < i; ++j) REQUIRE(u[i * size + j] == 0);
      }
    }
  CHECK(inverse_factor(std::vector<float>{0, 0, 0, 0}, 2, 0.01, Team(1)) == std::vector<float>{1, 0, 0, 1});
  CHECK_THROWS_AS(inverse_factor(std::vector<float>{INFINITY}, 1, 0.01, Team(1)), Error);
  CHECK_THROWS_AS(inverse_factor(std::vector<float>{NAN}, 1, 0.01, Team(1)), Error);
}

TEST_CASE("Error feedback is optimal brain quantization in a fixed order, with and without FOEM") {
  SplitMix64 random(6);
  const Team team(2);
  for (const int64_t cols : {3, 31, 150})
    for (const auto& [ordered, beta] :
         std::vector<std::pair<bool, double>>{{true, 0}, {false, 0}, {true, 0.15}, {false, 1}}) {
      CAPTURE(cols, ordered, beta);
      const int64_t rows = 9;
      const Matrix weights(random_floats(random, rows * cols), rows, cols);
      const GptqOptions options{
          .activation_order = ordered, .rounds = 1, .ridge = 1e12, .beta = beta};  // scales stay
      const InputStatistics inputs = statistics_of(correlated_inputs(random, 4 * cols, cols), cols, options);
      const QuantizationScheme scheme = scheme_of(WeightFormat::int4, 32);
      const QuantizedMatrix grid =
          round_to_nearest(weights.matrix, scheme, DType::F16, inputs.importance.data(), team);
      const Dense expected = slow_feedback(weights.values, grid, inputs, options.damping, beta);
      const Dense found = values_of(gptq(weights.matrix, scheme, DType::F16, inputs, options, team));
      const Dense nearest = values_of(grid);
      const Dense errors = slow_errors(weights.values, expected, inputs.h, static_cast<size_t>(cols)),
                  before = slow_errors(weights.values, nearest, inputs.h, static_cast<size_t>(cols));
      for (size_t row = 0; row < static_cast<size_t>(rows); ++row) {
        const Dense& best = errors[row] < before[row] ? expected : nearest;
        for (size_t k = row * static_cast<size_t>(cols); k < (row + 1) * static_cast<size_t>(cols); ++k)
          REQUIRE(std::abs(found[k] - best[k]) < 1e-6);
      }
    }
}

TEST_CASE("No row's output error is above that of rounding to nearest, whatever the shape and the inputs") {
  SplitMix64 random(7);
  const Team team(2);
  double fed = 0, nearest = 0;
  for (const WeightFormat format : {WeightFormat::int4, WeightFormat::int8})
    for (const bool symmetric : {true, false})
      for (const auto& [rows, cols] :
           std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {3, 33}, {31, 172}, {5, 64}})
        for (const int kind : {0, 1, 2, 3}) {
          CAPTURE(info(format).name, symmetric, rows, cols, kind);
          std::vector<float> x = correlated_inputs(random, kind == 1 ? 1 : 3 * cols, cols);  // 1: singular
          if (kind == 2)  // inputs that are always zero
            for (size_t i = 0; i < x.size(); ++i)
              if (i % static_cast<size_t>(cols) % 5 == 1) x[i] = 0;
          if (kind == 3) std::ranges::fill(x, 0.0f);
          std::vector<float> values = random_floats(random, rows * cols);
          std::fill_n(values.begin(), cols, 0.0f);               // a row of zeros
          if (rows > 1) values[static_cast<size_t>(cols)] = 40;  // an outlier
          const Matrix weights(std::move(values), rows, cols);
          const InputStatistics inputs = statistics_of(x, cols);
          const QuantizationScheme scheme =
              scheme_of(format, format == WeightFormat::int4 ? 32 : 0, symmetric);
          const DType type = scale_dtype(scheme);
          const QuantizedMatrix before = round_to_nearest(weights.matrix, scheme, type,
                                                          inputs.importance.data(), team),
                                after = gptq(weights.matrix, scheme, type, inputs, {}, team);
          const Dense was =
                          slow_errors(weights.values, values_of(before), inputs.h, static_cast<size_t>(cols)),
                      is = slow_errors(weights.values, values_of(after), inputs.h, static_cast<size_t>(cols));
          for (size_t row = 0; row < was.size(); ++row) {
            REQUIRE(is[row] <= was[row] * (1 + 1e-4) + 1e-9);
            nearest += was[row];
            fed += is[row];
          }
          for (const float scale : after.matrix.scales)
            REQUIRE((scale == 0 || stored_scale(scale, type) == scale));
        }
  CHECK(fed < 0.8 * nearest);
}

TEST_CASE("Scales are fitted: none can be moved to lower the error of the codes") {
  SplitMix64 random(8);
  const Team team(2);
  const int64_t rows = 300, cols = 96;  // more rows than are fitted together
  const Matrix weights(random_floats(random, rows * cols), rows, cols);
  const InputStatistics inputs = statistics_of(correlated_inputs(random, 400, cols), cols);
  const QuantizationScheme scheme = scheme_of(WeightFormat::int4, 32);
  const QuantizedMatrix fitted =
      gptq(weights.matrix, scheme, DType::F32, inputs, {.rounds = 1, .ridge = 1e-9}, team);
  const auto error_with = [&](size_t row, size_t group, float factor) {
    QuantizedMatrix moved = fitted;
    moved.matrix.scales[row * 3 + group] *= factor;
    const auto size = static_cast<size_t>(cols);
    const Dense values = values_of(moved);
    const std::vector<float> of_row(weights.values.begin() + static_cast<std::ptrdiff_t>(row * size),
                                    weights.values.begin() + static_cast<std::ptrdiff_t>((row + 1) * size));
    return slow_errors(of_row,
                       {values.begin() + static_cast<std::ptrdiff_t>(row * size),
                        values.begin() + static_cast<std::ptrdiff_t>((row + 1) * size)},
                       inputs.h, size)[0];
  };
  for (const size_t row : {0, 17, 255, 256, 299})
    for (size_t group = 0; group < 3; ++group)
      for (const float factor : {0.99f, 1.01f})
        CHECK(error_with(row, group, factor) > error_with(row, group, 1));
}

TEST_CASE("The same codes for any number of threads") {
  SplitMix64 random(9);
  const int64_t rows = 37, cols = 300;
  const Matrix weights(random_floats(random, rows * cols), rows, cols);
  const InputStatistics inputs = statistics_of(correlated_inputs(random, 500, cols), cols);
  const QuantizationScheme scheme = scheme_of(WeightFormat::int4, 128);
  const Team one(1), three(3);
  const QuantizedMatrix single = gptq(weights.matrix, scheme, DType::F16, inputs, {}, one),
                        shared = gptq(weights.matrix, scheme, DType::F16, inputs, {}, three);
  CHECK(std::ranges::equal(single.matrix.codes, shared.matrix.codes));
  CHECK(single.matrix.scales == shared.matrix.scales);
}
