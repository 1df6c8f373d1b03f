// Speed from a miniature: what is counted, and when nothing is measured. Times themselves are not looked at.

#include "bench/estimate/speed_estimate.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "engine/kv_cache.h"
#include "tests/support/estimated_models.h"

using namespace whittle;
using namespace whittle::test;

namespace {

const PlannedWorkload workload{.context = 40, .prompt_tokens = 24, .sequences = 2, .threads = 1};

std::vector<StoredModel> models_of(const ModelSpec& spec) {
  return {StoredModel(spec, some_choices().front()), StoredModel(spec, some_choices().back())};
}

}  // namespace

TEST_CASE("Every family is measured in turns, and what a step reads is counted as the engine does") {
  const Team team(1);
  const std::vector<ModelSpec> specs = small_specs();
  for (const ModelSpec& spec : {specs[0], specs[8], specs[9], specs[10]}) {
    CAPTURE(spec.model_type);
    const std::vector<StoredModel> models = models_of(spec);
    const auto estimates = estimate_speed(
        models, workload, team, {.rounds = 1, .step_seconds = 0, .probe_bytes = 4 << 20}, int64_t{1} << 40);
    REQUIRE(estimates.size() == 2);
    for (size_t i = 0; i < 2; ++i) {
      REQUIRE(estimates[i]);
      const SpeedEstimate& speed = *estimates[i];
      CHECK(speed.int8 == (i == 1));
      CHECK(speed.miniature_share == 1);
      CHECK(speed.decode_bytes == Approx(static_cast<double>(models[i].decode_bytes()) +
                                         2 * KvCache::bytes_read(spec, workload.kv_cache, 32)));
      CHECK(speed.decode_tokens_per_s.size() == 1);
      // One round is its own median.
      CHECK(speed.decode_estimate(workload) == Approx(speed.decode_tokens_per_s.front()));
      CHECK(speed.prefill_estimate(workload) == Approx(speed.prefill_tokens_per_s.front()));
      CHECK(std::isfinite(speed.decode_estimate(workload)));
    }
  }
}

TEST_CASE("A part of a model speaks for all of it, and without room for one nothing is measured") {
  const Team team(1);
  ModelSpec spec = small_specs().front();
  spec.num_hidden_layers = 12;
  const std::vector<StoredModel> models = models_of(spec);
  const TrialOptions few{.rounds = 1,
                         .step_seconds = 0,
                         .target_bytes = models.front().decode_bytes() / 4,
                         .probe_bytes = 4 << 20};
  int64_t calls = 0;
  const auto estimates = estimate_speed(models, workload, team, few, int64_t{1} << 40,
                                        [&](int64_t done, int64_t total, const std::string&) {
                                          CHECK(done == ++calls);
                                          CHECK(total == 4);
                                        });
  CHECK(calls == 4);
  REQUIRE(estimates.front());
  CHECK(estimates.front()->miniature_share == Approx(0.25).margin(0.05));
  CHECK_FALSE(estimate_speed(models, workload, team, few, 1000).front());
}
