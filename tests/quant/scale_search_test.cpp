#include "quant/scale_search.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "quant/float_matrix.h"
#include "quant/scaling.h"
#include "tests/support/model_variants.h"

using namespace whittle;
using namespace whittle::test;

namespace {

// Query heads 0 and 1 read key/value head 0, heads 2 and 3 head 1.
ModelSpec small_spec() {
  ModelSpec spec;
  spec.hidden_size = 33;
  spec.intermediate_size = 31;
  spec.num_attention_heads = 4;
  spec.num_key_value_heads = 2;
  spec.head_dim = 6;
  return spec;
}

QuantizationScheme int4_groups(int64_t size) {
  QuantizationScheme scheme;
  scheme.format = WeightFormat::int4;
  scheme.strategy = ScaleStrategy::group;
  scheme.group_size = size;
  return scheme;
}

WeightMatrix random_matrix(int64_t rows, int64_t cols, SplitMix64& random) {
  FloatMatrix matrix(rows, cols);
  for (int64_t i = 0; i < rows * cols; ++i) matrix.row(0)[i] = random.uniform(-1, 1);
  return matrix.take("test");
}

// Inputs with one channel in eleven `louder` than the others.
InputStatistics statistics(int64_t cols, float louder, const Team& team) {
  SplitMix64 random(4);
  Hessian hessian(cols);
  std::vector<float> rows(static_cast<size_t>(200 * cols));
  for (size_t i = 0; i < rows.size(); ++i)
    rows[i] = random.uniform(-1, 1) * (i % static_cast<size_t>(cols) % 11 == 3 ? louder : 1);
  hessian.add(team, {200, cols, rows.data()});
  return input_statistics("test", std::move(hessian), {}, team);
}

// The same by loops: codes of the scaled matrix, against H.
double slow_loss(const ScaledReader& reader, const std::vector<float>& scales,
                 const InputStatistics& inputs) {
  const auto cols = static_cast<size_t>(reader.weights.cols);
  FloatMatrix scaled(reader.weights.rows, reader.weights.cols);
  const std::vector<float> before = values_of(reader.weights);
  std::vector<float> importance(cols);
  float largest = 0;
  for (size_t k = 0; k < cols; ++k)
    largest = std::max(largest, importance[k] = inputs.importance[k] / (scales[k] * scales[k]));
  for (float& value : importance) value /= largest;
  for (size_t i = 0; i < before.size(); ++i) scaled.row(0)[i] = before[i] * scales[i % cols];
  const QuantizedMatrix rounded =
      round_to_nearest(scaled.take("test"), reader.scheme, DType::F16, importance.data(), Team(1));
  const std::vector<float> after = values_of(rounded.matrix);
  double loss = 0;
  for (size_t row = 0; row < before.size(); row += cols)
    for (size_t i = 0; i < cols; ++i)
      for (size_t j = 0; j < cols; ++j) {
        const auto difference = [&](size_t k) {
          return static_cast<double>(before[row + k]) -
                 static_cast<double>(after[row + k]) / static_cast<double>(scales[k]);
        };
        loss += difference(i) * difference(j) * static_cast<double>(inputs.h[i * cols + j]);
      }
  return loss;
}

}  // namespace

TEST_CASE("AWQ's scales lose what they say, and never more than none") {
  const Team team(2);
  const ModelSpec spec = small_spec();
  for (const Role producer : {Role::attention_norm, Role::v, Role::up})
    for (const float louder : {0.0f, 1.0f, 30.0f}) {
      CAPTURE(info(producer).name, louder);
      const std::vector<int64_t> channels = input_channels(spec, 0, producer);
      const int64_t cols = std::ssize(channels);
      SplitMix64 random(9);
      const InputStatistics inputs = statistics(cols, louder, team);
      const std::vector<ScaledReader> readers = {{"a", random_matrix(7, cols, random), int4_groups(16)},
                                                 {"b", random_matrix(3, cols, random), int4_groups(32)},
                                                 {"c", random_matrix(1, cols, random), int4_groups(16)}};
      const ScaleSearch found = awq_scales(spec, 0, producer, readers, inputs, team);
      CHECK(found.scales == awq_scales(spec, 0, producer, readers, inputs, Team(1)).scales);
      REQUIRE(std::ssize(found.scales) == scaled_channels(spec, 0, producer));
      const auto loss = [&](const std::vector<float>& scales) {
        std::vector<float> of_inputs;
        for (const int64_t channel : channels) of_inputs.push_back(scales[static_cast<size_t>(channel)]);
        double sum = 0;
        for (const ScaledReader& reader : readers) sum += slow_loss(reader, of_inputs, inputs);
        return sum;
      };
      const std::vector<float> ones(found.scales.size(), 1.0f);
      CHECK(found.loss == Approx(loss(found.scales)).epsilon(1e-4));
      CHECK(found.unscaled_loss == Approx(loss(ones)).epsilon(1e-4));
      CHECK(found.loss <= found.unscaled_loss);
      for (const float scale : found.scales) CHECK((scale > 0 && std::isfinite(scale)));
      // Rounding spares loud channels already, by the search of its scales; larger ones lose less still.
      if (louder > 1 && producer == Role::attention_norm) {
        CHECK(found.loss < found.unscaled_loss);
        CHECK(found.scales[3] > 1.2f * found.scales[4]);
      }
    }
}

TEST_CASE("Inputs that are never anything but zero are scaled by one") {
  const Team team(2);
  SplitMix64 random(9);
  Hessian hessian(33);
  const std::vector<float> zeros(66);
  hessian.add(team, {2, 33, zeros.data()});
  const InputStatistics inputs = input_statistics("test", std::move(hessian), {}, team);
  const std::vector<ScaledReader> readers = {{"a", random_matrix(3, 33, random), int4_groups(16)}};
  const ScaleSearch found = awq_scales(small_spec(), 0, Role::attention_norm, readers, inputs, team);
  CHECK(found.scales == std::vector<float>(33, 1.0f));
  CHECK(found.loss == 0);
}

TEST_CASE("SmoothQuant's scales make channels as uneven in the activations as in the weights") {
  SplitMix64 random(9);
  const ModelSpec spec = small_spec();
  for (const Role producer : {Role::mlp_norm, Role::v}) {
    const std::vector<int64_t> channels = input_channels(spec, 0, producer);
    const int64_t cols = std::ssize(channels);
    const std::vector<ScaledReader> readers = {{"a", random_matrix(7, cols, random), {}},
                                               {"b", random_matrix(3, cols, random), {}}};
    std::vector<float> largest;
    for (int64_t k = 0; k < cols; ++k) largest.push_back(random.uniform(0.1f, 40));
    largest[2] = 0;
    if (producer == Role::v) largest[2 + 6] = 0;  // the other head that reads it
    const std::vector<float> half = smoothquant_scales(spec, 0, producer, readers, largest, 0.5);
    const std::vector<float> activations = smoothquant_scales(spec, 0, producer, readers, largest, 1);
    for (int64_t c = 0; c < scaled_channels(spec, 0, producer); ++c) {
      float x = 0, w = 0;
      for (int64_t k = 0; k < cols; ++k) {
        if (channels[static_cast<size_t>(k)] != c) continue;
        x = std::max(x, largest[static_cast<size_t>(k)]);
        for (const ScaledReader& reader : readers) {
          const std::vector<float> values = values_of(reader.weights);
          for (size_t i = static_cast<size_t>(k); i < values.size(); i += static_cast<size_t>(cols))
            w = std::max(w, std::abs(values[i]));
        }
      }
      const auto at = static_cast<size_t>(c);
      if (c == 2) {
        CHECK(half[at] == 1);
        continue;
      }
      CHECK(x / half[at] == Approx(w * half[at]));
      CHECK(activations[at] == Approx(x));
    }
  }
}
