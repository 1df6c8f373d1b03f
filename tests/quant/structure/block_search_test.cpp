#include "quant/structure/block_search.h"

#include <catch2/catch.hpp>
#include <limits>

#include "bench/drift/drift.h"
#include "kernels/error.h"
#include "quant/structure/pruned_weights.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_families.h"

using namespace whittle;
using namespace whittle::test;

namespace {

const StageProgress silent = [](int64_t, int64_t, const std::string&) {};

struct Setting {
  TemporaryFolder folder;
  Team team{2};
  std::unique_ptr<FolderWeights> source;
  Windows windows;

  explicit Setting(int64_t layers, int64_t intermediate_size) {
    write_tiny_model(folder.path(), {.hidden_size = 24,
                                     .intermediate_size = intermediate_size,
                                     .num_hidden_layers = layers,
                                     .num_attention_heads = 4,
                                     .num_key_value_heads = 2,
                                     .head_dim = 6,
                                     .vocab_size = 40});
    source = std::make_unique<FolderWeights>(folder.path());
    SplitMix64 random(4);
    for (const size_t length : {17u, 30u, 5u}) {
      windows.ids.emplace_back();
      for (size_t i = 0; i < length; ++i)
        windows.ids.back().push_back(static_cast<int32_t>(random.bits() % 40));
    }
  }

  MeasuredModel model() const { return {*source, windows, int64_t{1} << 30, {}, team, silent}; }

  // By the engine, of the model without these halves.
  double kl(const std::set<int64_t>& gone) const {
    const auto weights =
        std::make_shared<PrunedWeights>(*source, without(shapes_of(source->spec()), gone), team);
    const Model original(folder.path(), team), pruned(weights, team);
    return measure_drift(original, pruned, team, windows, KvFormat::f32, nullptr, {}).kl.mean;
  }

  int64_t weights(const std::set<int64_t>& gone) const {
    const ModelSpec& spec = source->spec();
    return layer_weights(spec, shapes_of(spec)) - layer_weights(spec, without(shapes_of(spec), gone));
  }
};

}  // namespace

TEST_CASE("What is measured of a model without some halves is what the engine measures of it") {
  const Setting setting(3, 20);
  MeasuredModel model = setting.model();
  CHECK(model.halves() == 6);
  CHECK(model.kl({}) == Approx(0).margin(1e-9));
  const std::set<int64_t> cases[] = {{0}, {5}, {2, 3}, {0, 1, 4}, {1, 2, 3}};
  for (const std::set<int64_t>& gone : cases) {
    MeasuredModel::Changes changes;
    for (const int64_t half : gone) changes[half] = nullptr;
    CHECK(model.kl(changes) == setting.kl(gone));
  }
  // Whatever was left out before, and with a half that comes back.
  for (const std::set<int64_t>& gone : cases) {
    model.leave_out(gone);
    CHECK(model.kl({}) == setting.kl(gone));
    const int64_t back = *gone.begin();
    std::set<int64_t> fewer = gone;
    fewer.erase(back);
    CHECK(model.kl({{back, &model.half(back)}}) ==
          Approx(fewer.empty() ? 0 : setting.kl(fewer)).margin(1e-9));
  }
}

TEST_CASE("Each step of the search is the best of all that there are") {
  const Setting setting(3, 20);
  MeasuredModel model = setting.model();
  const ModelSpec& spec = setting.source->spec();
  Measurements known(nullptr);
  const std::vector<DroppedHalves> path = drop_greedily(
      model, spec, {.known = known}, [](const DroppedHalves&) { return true; }, silent);
  std::set<int64_t> now;
  double kl = 0;
  for (const DroppedHalves& state : path) {
    double best = std::numeric_limits<double>::infinity();
    for (int64_t half = 0; half < 6; ++half)
      for (const bool both : {false, true}) {
        std::set<int64_t> next = now;
        next.insert(half);
        if (both) next.insert(half ^ 1);
        if (next.size() != now.size() + 1 + both || next.size() == 6) continue;
        best = std::min(best, (setting.kl(next) - kl) /
                                  static_cast<double>(setting.weights(next) - setting.weights(now)));
      }
    CHECK(state.kl == setting.kl(state.halves));
    CHECK(state.weights == setting.weights(state.halves));
    CHECK((state.kl - kl) / static_cast<double>(state.weights - setting.weights(now)) == Approx(best));
    now = state.halves;
    kl = state.kl;
  }
  CHECK(now.size() >= 4);
  CHECK(now.size() < 6);
}

TEST_CASE("As many weights go as one layer has, with the least loss, and no more than must") {
  const Setting setting(3, 20);
  MeasuredModel model = setting.model();
  const ModelSpec& spec = setting.source->spec();
  const int64_t layer = setting.weights({0, 1});
  using Fixed = std::function<bool(int64_t half)>;
  const auto drop = [&](int64_t weights, bool whole_layers = false, const Fixed& fixed = {}) {
    Measurements known(nullptr);
    return drop_weights(model, spec, {whole_layers, fixed, known}, weights, silent);
  };
  // Whole layers: one of three, by trying each.
  const DroppedHalves whole = drop(layer, true);
  double least = std::numeric_limits<double>::infinity();
  for (int64_t i = 0; i < 3; ++i) least = std::min(least, setting.kl({2 * i, 2 * i + 1}));
  CHECK(whole.halves.size() == 2);
  CHECK(whole.kl == least);
  // Halves: at least as good.
  const DroppedHalves any = drop(layer);
  CHECK(any.kl <= whole.kl);
  CHECK(any.weights >= layer);
  CHECK(any.kl == setting.kl(any.halves));
  for (const int64_t half : any.halves) {
    std::set<int64_t> fewer = any.halves;
    fewer.erase(half);
    if (setting.weights(fewer) >= layer) CHECK(setting.kl(fewer) >= any.kl);
  }
  // What must stay, stays.
  const DroppedHalves mlps = drop(setting.weights({1}), false, [](int64_t half) { return half % 2 == 0; });
  for (const int64_t half : mlps.halves) CHECK(half % 2 == 1);
  CHECK_THROWS_AS(drop(layer, false, [](int64_t half) { return half > 0; }), Error);
  CHECK_THROWS_AS(drop(3 * layer), Error);
}
