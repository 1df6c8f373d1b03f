#include "quant/input_rounding.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "quant/float_matrix.h"
#include "tests/support/tiny_model.h"

using namespace whittle;
using namespace whittle::test;

TEST_CASE(
    "The error by int8 inputs is that of products with rounded inputs, as far as errors are independent") {
  const Team team(2);
  SplitMix64 random(31);
  for (const auto& [cols, group_size] :
       std::vector<std::pair<int64_t, int64_t>>{{1, 0}, {31, 0}, {172, 32}, {64, 128}, {33, 32}}) {
    CAPTURE(cols, group_size);
    const int64_t tokens = 600, outputs = 40, stride = cols + 3, group = group_size ? group_size : cols;
    std::vector<float> x(static_cast<size_t>(tokens * stride));
    for (int64_t i = 0; i < tokens * stride; ++i)
      x[static_cast<size_t>(i)] = random.uniform(-1, 1) * (i % stride == 0 ? 20.0f : 1.0f);
    FloatMatrix weights(outputs, cols);
    for (int64_t i = 0; i < outputs * cols; ++i) weights.row(0)[i] = random.uniform(-1, 1);
    double power = 0, error = 0;
    for (int64_t t = 0; t < tokens; ++t) {
      const float* row = x.data() + t * stride;
      std::vector<double> rounded(static_cast<size_t>(cols));
      for (int64_t begin = 0; begin < cols; begin += group) {
        const int64_t end = std::min(cols, begin + group);
        float largest = 0;
        for (int64_t k = begin; k < end; ++k) largest = std::max(largest, std::abs(row[k]));
        const double scale = static_cast<double>(largest) / 127;
        for (int64_t k = begin; k < end; ++k)
          rounded[static_cast<size_t>(k)] = std::rint(static_cast<double>(row[k]) / scale) * scale;
      }
      for (int64_t n = 0; n < outputs; ++n) {
        double y = 0, difference = 0;
        for (int64_t k = 0; k < cols; ++k) {
          const double w = static_cast<double>(weights.row(n)[k]), value = static_cast<double>(row[k]);
          y += w * value;
          difference += w * (value - rounded[static_cast<size_t>(k)]);
        }
        power += y * y;
        error += difference * difference;
      }
    }
    const WeightMatrix matrix = weights.take("test");
    InputRounding one(cols, group_size), parts(cols, group_size);
    one.add(Team(1), {tokens, stride, x.data()});
    parts.add(team, {37, stride, x.data()});
    parts.add(team, {tokens - 37, stride, x.data() + 37 * stride});
    const double found = one.relative_error(matrix, power / static_cast<double>(tokens), team);
    CHECK(found == parts.relative_error(matrix, power / static_cast<double>(tokens), Team(1)));
    // One input: its rounding is exact but for the last bit.
    CHECK(found == Approx(std::sqrt(error / power)).epsilon(0.1).margin(1e-6));
    if (cols > 1) CHECK(found > 1e-4);
  }
  CHECK(InputRounding(3, 0).relative_error(FloatMatrix(1, 3).take("test"), 0, team) == 0);
}
