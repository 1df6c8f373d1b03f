#include "quant/grid_search.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "quant/float_matrix.h"
#include "tests/support/model_variants.h"

using namespace whittle;
using namespace whittle::test;

namespace {

// Inputs of which neighbours go together, and some are never anything but zero.
InputStatistics correlated(int64_t cols) {
  const Team team(2);
  SplitMix64 random(6);
  std::vector<float> rows(static_cast<size_t>(3 * cols * cols));
  float last = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    last = 0.8f * last + random.uniform(-1, 1);
    rows[i] = i % static_cast<size_t>(cols) % 13 == 5 ? 0 : last;
  }
  Hessian hessian(cols);
  hessian.add(team, {3 * cols, cols, rows.data()});
  return input_statistics("test", std::move(hessian), team);
}

WeightMatrix some_weights(int64_t rows, int64_t cols) {
  SplitMix64 random(7);
  FloatMatrix matrix(rows, cols);
  for (int64_t i = 0; i < rows * cols; ++i) matrix.row(0)[i] = random.uniform(-1, 1);
  for (int64_t k = 0; k < cols; ++k) matrix.row(rows - 1)[k] = 0;
  if (rows > 2) matrix.row(1)[0] = 50;  // an outlier
  return matrix.take("test");
}

QuantizationScheme scheme_of(WeightFormat format, int64_t group_size, bool symmetric) {
  QuantizationScheme scheme;
  scheme.format = format;
  scheme.strategy = group_size ? ScaleStrategy::group : ScaleStrategy::channel;
  scheme.group_size = group_size;
  scheme.symmetric = symmetric;
  return scheme;
}

// (w − ŵ) H_gg (w − ŵ)ᵀ of every group.
std::vector<double> costs(const WeightMatrix& weights, const WeightMatrix& rounded,
                          const InputStatistics& inputs) {
  std::vector<double> costs;
  std::vector<float> w(static_cast<size_t>(weights.cols)), q(w.size());
  for (int64_t row = 0; row < weights.rows; ++row) {
    weights.decode_row(row, w.data());
    rounded.decode_row(row, q.data());
    for (int64_t begin = 0; begin < weights.cols; begin += rounded.group_size) {
      const int64_t end = std::min(weights.cols, begin + rounded.group_size);
      double cost = 0;
      const auto difference = [&](int64_t k) {
        return static_cast<double>(w[static_cast<size_t>(k)]) -
               static_cast<double>(q[static_cast<size_t>(k)]);
      };
      for (int64_t i = begin; i < end; ++i)
        for (int64_t j = begin; j < end; ++j)
          cost += difference(i) * difference(j) *
                  static_cast<double>(inputs.h[static_cast<size_t>(i * weights.cols + j)]);
      costs.push_back(cost);
    }
  }
  return costs;
}

}  // namespace

TEST_CASE(
    "A grid judged by its group's block costs no more than one judged input by input, and mostly less") {
  for (const WeightFormat format :
       {WeightFormat::int4, WeightFormat::int5, WeightFormat::int6, WeightFormat::int8})
    for (const bool symmetric : {true, false})
      for (const auto& [rows, cols, group_size] : std::vector<std::array<int64_t, 3>>{
               {1, 31, 32}, {3, 33, 32}, {70, 172, 64}, {5, 100, 0}, {2, 1, 0}}) {
        if (format != WeightFormat::int8 && group_size == 0) continue;
        CAPTURE(info(format).name, symmetric, rows, cols, group_size);
        const QuantizationScheme scheme = scheme_of(format, group_size, symmetric);
        const InputStatistics inputs = correlated(cols);
        const WeightMatrix weights = some_weights(rows, cols);
        const DType type = scale_dtype(scheme);
        const QuantizedMatrix before =
                                  round_to_nearest(weights, scheme, type, inputs.importance.data(), Team(2)),
                              one = round_by_blocks(weights, scheme, type, inputs, Team(1)),
                              three = round_by_blocks(weights, scheme, type, inputs, Team(3));
        CHECK(std::ranges::equal(one.matrix.codes, three.matrix.codes));
        CHECK(one.matrix.scales == three.matrix.scales);
        CHECK(one.loss == three.loss);
        const std::vector<double> now = costs(weights, one.matrix, inputs),
                                  then = costs(weights, before.matrix, inputs);
        double sum = 0, sum_before = 0;
        for (size_t i = 0; i < now.size(); ++i) {
          // Costs are judged by float32 products of some 172 terms.
          CHECK(now[i] <= then[i] * (1 + 1e-4) + 1e-9);
          sum += now[i];
          sum_before += then[i];
        }
        CHECK(one.loss == Approx(sum).epsilon(1e-3).margin(1e-9));
        if (rows * cols > 1000) CHECK(sum < (format == WeightFormat::int4 ? 0.95 : 1.0) * sum_before);
        if (sum > 0) CHECK(one.output_error > 0);
      }
}
