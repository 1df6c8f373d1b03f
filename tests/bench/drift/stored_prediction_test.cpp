#include "bench/drift/stored_prediction.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <random>

#include "kernels/error.h"

using namespace whittle;

namespace {

constexpr int64_t vocabulary = 200;

std::vector<float> normal(std::mt19937& random, double deviation) {
  std::normal_distribution<double> distribution(0, deviation);
  std::vector<float> values(vocabulary);
  for (float& value : values) value = static_cast<float>(distribution(random));
  return values;
}

std::vector<float> sum(const std::vector<float>& a, const std::vector<float>& b) {
  std::vector<float> values = a;
  for (size_t i = 0; i < values.size(); ++i) values[i] += b[i];
  return values;
}

std::vector<long double> probabilities(const std::vector<float>& logits) {
  std::vector<long double> p;
  long double total = 0;
  for (const float logit : logits) total += p.emplace_back(std::exp(static_cast<long double>(logit)));
  for (long double& value : p) value /= total;
  return p;
}

double exact_kl(const std::vector<float>& baseline, const std::vector<float>& model) {
  const auto p = probabilities(baseline), q = probabilities(model);
  long double kl = 0;
  for (size_t i = 0; i < p.size(); ++i)
    if (p[i] > 0) kl += p[i] * std::log(p[i] / q[i]);
  return static_cast<double>(kl);
}

std::vector<float> logs(const std::vector<double>& p) {
  std::vector<float> logits;
  for (const double value : p) logits.push_back(static_cast<float>(std::log(value)));
  return logits;
}

}  // namespace

TEST_CASE("The KL of what was stored is as near to the exact one as its bounds say") {
  std::mt19937 random(1);
  for (const double spread : {0.0, 0.1, 1.0, 4.0, 12.0})  // from flat to peaked
    for (const double noise : {0.0, 0.02, 0.3, 3.0})
      for (int repeat = 0; repeat < 5; ++repeat) {
        const std::vector<float> baseline = normal(random, spread),
                                 model = sum(baseline, normal(random, noise));
        const double exact = exact_kl(baseline, model);
        for (const int64_t top : {1, 2, 7, 50, 199, 200, 1000}) {
          INFO("spread " << spread << ", noise " << noise << ", top " << top);
          const StoredPrediction stored = store_prediction(baseline, 3, top);
          CHECK(std::ssize(stored.codes) == std::min(top, vocabulary));
          CHECK(stored.indices.empty() == (top >= vocabulary));
          const DriftPosition position = compare_predictions(stored, model, 3),
                              beside = compare_predictions(std::span(baseline), model, 3);
          CHECK(position.kl_below >= 0);
          CHECK(position.kl_above >= 0);
          CHECK(exact >= position.kl - position.kl_below - 1e-12);
          CHECK(exact <= position.kl + position.kl_above + 1e-12);
          if (top >= vocabulary) CHECK(position.kl_below + position.kl_above < 5e-4 + 4e-3 * exact);
          // Nothing else loses anything.
          CHECK(position.baseline_nll == Approx(beside.baseline_nll).epsilon(1e-14));
          CHECK(position.model_nll == beside.model_nll);
          CHECK(position.same_top == beside.same_top);
        }
      }
}

TEST_CASE("The bound for tokens that were not kept is reached where the model is as wrong as can be") {
  // Two tokens are kept. Of the others, two have as much as the lesser of these, and the rest all but
  // nothing.
  const std::vector<double> p = {0.4, 0.2, 0.2, 0.2 - 6e-9, 2e-9, 2e-9, 2e-9};
  const std::vector<double> q = {0.5, 0.3, 1e-6, 1e-6, 0.06, 0.06, 0.08 - 2e-6};
  const DriftPosition position = compare_predictions(store_prediction(logs(p), 0, 2), logs(q), 0);
  const double exact = exact_kl(logs(p), logs(q));
  CHECK(exact <= position.kl + position.kl_above);
  CHECK(exact > position.kl + 0.99 * position.kl_above);
  // And it is no less than what is taken where the model is right about them.
  std::vector<double> same = p;
  std::swap(same[0], same[1]);
  const DriftPosition best = compare_predictions(store_prediction(logs(p), 0, 2), logs(same), 0);
  CHECK(exact_kl(logs(p), logs(same)) == Approx(best.kl).margin(1e-4));
}

TEST_CASE("Fewer tokens kept leave more open") {
  std::mt19937 random(2);
  const std::vector<float> baseline = normal(random, 2), model = sum(baseline, normal(random, 0.2));
  double before = std::numeric_limits<double>::infinity();
  for (const int64_t top : {1, 4, 16, 64, 150, 200}) {
    const double above = compare_predictions(store_prediction(baseline, 0, top), model, 0).kl_above;
    CHECK(above < before);
    before = above;
  }
}

TEST_CASE("Logits that are not finite are refused when stored, and seen when judged") {
  std::mt19937 random(3);
  const std::vector<float> good = normal(random, 1);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()})
    for (const size_t at : {size_t{0}, size_t{100}}) {
      std::vector<float> logits = good;
      logits[at] = bad;
      for (const int64_t top : {10, 200}) {
        CHECK_THROWS_AS(store_prediction(logits, 1, top), Error);
        const DriftPosition position = compare_predictions(store_prediction(good, 1, top), logits, 1);
        CHECK_FALSE(std::isfinite(position.kl + position.kl_above));
      }
    }
}

TEST_CASE("Stored values whose bounds no number can hold are refused, whatever else they say") {
  const std::vector<float> model = {1, 2, 3, 4};
  StoredPrediction stored{.codes = {0, 65535}, .indices = {3, 2}, .rest = 0.1};
  for (const float scale : {700.0f, 710.0f, 1e4f, 1e38f}) {
    CAPTURE(scale);
    stored.scale = scale;
    CHECK_THROWS_AS(compare_predictions(stored, model, 0), Error);
  }
}
