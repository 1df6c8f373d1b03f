#include "quant/tuning.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <memory>

#include "bench/drift/drift.h"
#include "kernels/float16.h"
#include "quant/replaced_weights.h"
#include "tests/support/paths.h"
#include "tests/support/tuned_models.h"

using namespace whittle;
using namespace whittle::test;
namespace fs = std::filesystem;

namespace {

std::vector<std::vector<int32_t>> random_windows(uint64_t seed, int64_t count, int64_t length) {
  SplitMix64 random(seed);
  std::vector<std::vector<int32_t>> windows(static_cast<size_t>(count));
  for (auto& window : windows)
    for (int64_t i = 0; i < length; ++i) window.push_back(static_cast<int32_t>(random.bits() % 40));
  return windows;
}

float as_f16(const Module&, float weight) { return f16_to_float(float_to_f16(weight)); }

// A tiny model in INT4, rounded to nearest, and text of its vocabulary.
struct Example {
  explicit Example(bool symmetric = true, bool bloom = false) {
    write_model_to_tune(folder.path(), bloom);
    source = std::make_unique<FolderWeights>(folder.path());
    const QuantizationScheme scheme = int4_in_groups(symmetric);
    task = std::make_unique<TuningTask>(TuningTask{
        *source, *source, {}, random_windows(1, 48, 24), as_f16, [this](const ReplacedWeights& model) {
          const std::shared_ptr<const WeightSource> weights(&model, [](const WeightSource*) {});
          return kl(weights);
        }});
    for (const Module& module : source->inventory().modules())
      if (module.kind() == ModuleKind::linear && module.layer >= 0)
        task->matrices[module.name] = {round_to_nearest(*source, module, scheme, Team(1)), 0};
    held_out.ids = random_windows(2, 8, 24);
    held_out.context = 24;
  }
  // Held-out KL of a result.
  double kl(const TuningResult& result) const {
    const auto weights = std::make_shared<ReplacedWeights>(*source);
    for (const auto& [name, matrix] : result.matrices) weights->replace(name, {matrix.matrix, 0});
    for (const auto& [name, norm] : result.norms) weights->replace_norm(name, norm);
    return kl(weights);
  }
  double kl(const std::shared_ptr<const WeightSource>& weights) const {
    const Team team(1);
    return measure_drift(Model(folder.path(), team), Model(weights, team), team, held_out, KvFormat::f16,
                         nullptr, {})
        .kl.mean;
  }

  TemporaryFolder folder;
  std::unique_ptr<FolderWeights> source;
  std::unique_ptr<TuningTask> task;
  Windows held_out;
};

bool same_codes(const QuantizedMatrix& a, const QuantizedMatrix& b) {
  return std::ranges::equal(a.matrix.codes, b.matrix.codes);
}
bool same(const TuningResult& a, const TuningResult& b) {
  if (a.norms != b.norms || a.kl_after != b.kl_after || a.best_step != b.best_step) return false;
  for (const auto& [name, matrix] : a.matrices)
    if (!same_codes(matrix, b.matrices.at(name)) || matrix.matrix.scales != b.matrices.at(name).matrix.scales)
      return false;
  return a.matrices.size() == b.matrices.size();
}

const TuningOptions thorough = {.passes = 8,
                                .windows_at_once = 4,
                                .scale_rate = 5e-3f,
                                .norm_rate = 5e-3f,
                                .rounding_rate = 0,
                                .evaluations = 4};

}  // namespace

TEST_CASE(
    "Tuning of scales and norms makes held-out KL smaller, as the engine measures what will be stored") {
  for (const bool bloom : {false, true})
    for (const bool symmetric : {true, false}) {
      CAPTURE(bloom, symmetric);
      const Example example(symmetric, bloom);
      const TuningResult result = tune(*example.task, thorough, Team(2));
      CHECK(result.kl_after < 0.97 * result.kl_before);
      CHECK(result.kl_after == example.kl(result));
      CHECK(result.best_step > 0);
      CHECK_FALSE(result.norms.empty());
      for (const auto& [name, given] : example.task->matrices) {
        const QuantizedMatrix& tuned = result.matrices.at(name);
        CHECK(same_codes(tuned, given.quantized));
        CHECK(tuned.matrix.zero_points == given.quantized.matrix.zero_points);
        CHECK(tuned.error != given.quantized.error);
        for (size_t g = 0; g < tuned.matrix.scales.size(); ++g) {
          const float scale = tuned.matrix.scales[g], before = given.quantized.matrix.scales[g];
          if (std::signbit(scale) != std::signbit(before) || !exact_in_f16(scale))
            FAIL("scale " << g << " of " << name);
        }
      }
      for (const auto& [name, norm] : result.norms)
        for (const float weight : norm)
          if (!exact_in_f16(weight)) FAIL("a norm's weight of " << name);
    }
}

TEST_CASE("Tuning of roundings gains what scales cannot") {
  const Example example;
  TuningOptions options = thorough;
  options.rounding_rate = 0.01f;
  const TuningResult scales = tune(*example.task, thorough, Team(2)),
                     both = tune(*example.task, options, Team(2));
  CHECK(both.kl_after < 0.9 * scales.kl_after);
  CHECK(both.kl_after == example.kl(both));
}

TEST_CASE("Nothing is accepted that makes held-out KL worse") {
  const Example example;
  TuningOptions wild = thorough;
  wild.passes = 1;
  wild.scale_rate = wild.rounding_rate = 3;
  const TuningResult result = tune(*example.task, wild, Team(2));
  CHECK(result.best_step == 0);
  CHECK(result.kl_after == result.kl_before);
  CHECK(result.kl_after == example.kl(result));
  CHECK(result.norms.empty());
  for (const auto& [name, given] : example.task->matrices) {
    CHECK(same_codes(result.matrices.at(name), given.quantized));
    CHECK(result.matrices.at(name).matrix.scales == given.quantized.matrix.scales);
  }
}

TEST_CASE("Tuning gives the same bits on any number of threads, and when it goes on from a checkpoint") {
  const Example example;
  TuningOptions options = thorough;
  options.passes = 2;
  options.rounding_rate = 0.01f;
  std::vector<TuningState> states;
  TuningHooks hooks;
  hooks.checkpoint = [&](const TuningState& state) { states.push_back(state); };
  const TuningResult one = tune(*example.task, options, Team(1), hooks),
                     two = tune(*example.task, options, Team(2));
  CHECK(same(one, two));
  REQUIRE(states.size() == 4);
  for (const TuningState& state : states) {
    const TuningState read = TuningState::deserialize(state.serialize());
    CHECK(read == state);
    CHECK(same(one, tune(*example.task, options, Team(2), {}, &read)));
  }
  std::vector<std::byte> bytes = states[0].serialize();
  for (const size_t length : {size_t{0}, size_t{7}, size_t{30}, bytes.size() / 2, bytes.size() - 1})
    CHECK_THROWS_AS(TuningState::deserialize(std::span(bytes).first(length)), Error);
  bytes.push_back(std::byte{0});
  CHECK_THROWS_AS(TuningState::deserialize(bytes), Error);
}

TEST_CASE("Tuning needs windows enough for a step") {
  const Example example;
  example.task->training.resize(3);
  CHECK_THROWS_WITH(tune(*example.task, thorough, Team(1)), "3 windows to tune on, where a step takes 4");
}
