#include "quant/block_tuning.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <memory>

#include "quant/quantized_matrix.h"
#include "quant/replaced_weights.h"
#include "tests/support/paths.h"
#include "tests/support/tuned_models.h"

using namespace whittle;
using namespace whittle::test;

namespace {

constexpr int64_t layer = 1;

// Layer 1 of a tiny model in INT4 behind a layer 0 in INT4, both rounded to nearest.
struct Example {
  explicit Example(bool bloom = false, bool symmetric = true) {
    write_model_to_tune(folder.path(), bloom);
    source = std::make_unique<FolderWeights>(folder.path());
    SplitMix64 random(3);
    for (int64_t w = 0; w < 96; ++w) {  // of 3 to 26 tokens
      std::vector<int32_t>& window = windows.emplace_back();
      for (int64_t i = 0; i < 3 + w % 24; ++i) window.push_back(static_cast<int32_t>(random.bits() % 40));
    }
    const QuantizationScheme scheme = int4_in_groups(symmetric);
    before = std::make_unique<ReplacedWeights>(*source);
    task = std::make_unique<TuningTask>(TuningTask{*source, *source, {}, windows, {}, {}});
    for (const Module& module : source->inventory().modules()) {
      if (module.kind() != ModuleKind::linear || module.layer < 0 || module.layer > layer) continue;
      QuantizedMatrix rounded = round_to_nearest(*source, module, scheme, Team(1));
      if (module.layer < layer)
        before->replace(module.name, {rounded.matrix, 0});
      else
        task->matrices[module.name] = {std::move(rounded), 0};
    }
    inputs = stream(*before, 0);
    outputs = stream(*source, layer);
  }

  // The stream behind layers 0 to `last`.
  std::unique_ptr<TokenStream> stream(const WeightSource& weights, int64_t last) const {
    auto tokens = std::make_unique<TokenStream>(source->spec(), windows, team, "");
    tokens->embed(weights);
    for (int64_t i = 0; i <= last; ++i) tokens->pass(load_layer(weights, i, team), i, KvFormat::f32, true);
    return tokens;
  }

  // By the engine, over windows [first, end), relative to what the layer adds.
  double error(const std::map<std::string, QuantizedMatrix>& matrices, size_t first) const {
    ReplacedWeights model(static_cast<const WeightSource&>(*before));
    for (const auto& [name, matrix] : matrices) model.replace(name, {matrix.matrix, 0});
    const std::unique_ptr<TokenStream> now = stream(model, layer);
    double square = 0, power = 0;
    const int64_t width = source->spec().hidden_size;
    for (size_t w = first; w < windows.size(); ++w) {
      const auto size = windows[w].size() * static_cast<size_t>(width);
      std::vector<float> in(size), wanted(size), out(size);
      inputs->read(w, 0, std::ssize(windows[w]), in.data());
      outputs->read(w, 0, std::ssize(windows[w]), wanted.data());
      now->read(w, 0, std::ssize(windows[w]), out.data());
      for (size_t i = 0; i < size; ++i) {
        square += std::pow(static_cast<double>(out[i]) - static_cast<double>(wanted[i]), 2);
        power += std::pow(static_cast<double>(wanted[i]) - static_cast<double>(in[i]), 2);
      }
    }
    return std::sqrt(square / power);
  }

  TunedBlock tune(const BlockTuningOptions& options, int threads = 2) const {
    return tune_block(*task, layer, *inputs, *outputs, options, Team(threads));
  }

  TemporaryFolder folder;
  Team team{1};
  std::unique_ptr<FolderWeights> source;
  std::vector<std::vector<int32_t>> windows;
  std::unique_ptr<ReplacedWeights> before;
  std::unique_ptr<TuningTask> task;
  std::unique_ptr<TokenStream> inputs, outputs;
};

std::map<std::string, QuantizedMatrix> given(const Example& example) {
  std::map<std::string, QuantizedMatrix> matrices;
  for (const auto& [name, matrix] : example.task->matrices) matrices[name] = matrix.quantized;
  return matrices;
}

bool same_codes(const QuantizedMatrix& a, const QuantizedMatrix& b) {
  return std::ranges::equal(a.matrix.codes, b.matrix.codes);
}

const BlockTuningOptions thorough = {.steps = 80, .windows_at_once = 8, .rounding_rate = 0.005f};

}  // namespace

TEST_CASE("Tuning a layer's roundings brings its outputs nearer to the original's, as the engine has them") {
  for (const bool bloom : {false, true})
    for (const bool symmetric : {true, false}) {
      CAPTURE(bloom, symmetric);
      const Example example(bloom, symmetric);
      const TunedBlock tuned = example.tune(thorough);
      CHECK(tuned.error_after < 0.99 * tuned.error_before);
      // The last 12 of 96 windows are the judge. The engine's and the gradient's forward pass round apart.
      CHECK(tuned.error_before == Approx(example.error(given(example), 84)).epsilon(1e-3));
      CHECK(tuned.error_after == Approx(example.error(tuned.matrices, 84)).epsilon(1e-3));
      bool changed = false;
      for (const auto& [name, before] : given(example)) {
        const QuantizedMatrix& after = tuned.matrices.at(name);
        CHECK(after.matrix.scales == before.matrix.scales);
        CHECK(after.matrix.zero_points == before.matrix.zero_points);
        changed = changed || !same_codes(after, before);
        if (!same_codes(after, before)) CHECK(after.error > before.error);  // it was the nearest
      }
      CHECK(changed);
      CHECK(tuned.matrices.size() == example.task->matrices.size());
    }
}

TEST_CASE("Nothing is accepted that takes a layer's outputs further away") {
  const Example example;
  for (const BlockTuningOptions& options :
       {BlockTuningOptions{.steps = 8, .rounding_rate = 3}, {.steps = 0}}) {
    const TunedBlock tuned = example.tune(options);
    CHECK(tuned.error_before > 0);
    CHECK(tuned.error_after == tuned.error_before);
    for (const auto& [name, before] : given(example)) CHECK(same_codes(tuned.matrices.at(name), before));
  }
}

TEST_CASE("Linears that are not to be tuned stay as they are") {
  Example example;
  std::erase_if(example.task->matrices,
                [](const auto& of) { return of.first.find("up_proj") == std::string::npos; });
  REQUIRE(example.task->matrices.size() == 1);
  const TunedBlock tuned = example.tune(thorough);
  CHECK(tuned.matrices.size() == 1);
  CHECK(tuned.error_after < tuned.error_before);
  CHECK(tuned.error_after == Approx(example.error(tuned.matrices, 84)).epsilon(1e-3));
}

TEST_CASE("A layer is tuned to the same bits by any number of threads") {
  const Example example;
  const TunedBlock one = example.tune(thorough, 1), two = example.tune(thorough, 2);
  CHECK(one.error_after == two.error_after);
  for (const auto& [name, matrix] : one.matrices) {
    CHECK(same_codes(matrix, two.matrices.at(name)));
  }
}

TEST_CASE("Few windows tune as well, and one alone nothing") {
  for (const size_t count : {1, 2, 3, 60}) {
    CAPTURE(count);
    Example example;
    example.windows.resize(count);
    example.task->training.resize(count);
    example.inputs = example.stream(*example.before, 0);
    example.outputs = example.stream(*example.source, layer);
    const TunedBlock tuned = example.tune(thorough);
    CHECK(tuned.error_after <= tuned.error_before);
    CHECK((tuned.error_before > 0) == (count > 1));
    if (count == 60) CHECK(tuned.error_after < tuned.error_before);
    if (count > 1) continue;
    for (const auto& [name, before] : given(example)) CHECK(same_codes(tuned.matrices.at(name), before));
  }
}
