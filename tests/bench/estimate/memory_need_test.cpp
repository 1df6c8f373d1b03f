// What a model is said to need is what running one takes, as the system counts it.

#include "bench/estimate/memory_need.h"

#include <catch2/catch.hpp>
#include <memory>

#include "bench/estimate/made_up_weights.h"
#include "bench/memory.h"
#include "engine/session.h"
#include "kernels/error.h"
#include "tests/support/estimated_models.h"

using namespace whittle;
using namespace whittle::test;

TEST_CASE("Scratch and KV cache are what a decoder and its sessions take once all of them was used") {
  // Large against what else the process may take meanwhile.
  ModelSpec spec = small_specs().front();
  spec.hidden_size = 1024;
  spec.intermediate_size = 4096;
  spec.num_attention_heads = 32;
  spec.num_key_value_heads = 16;
  spec.head_dim = 64;
  spec.vocab_size = 2000;
  spec.max_position_embeddings = 2048;
  spec.num_hidden_layers = 1;
  for (const StorageChoice& choice : {some_choices().front(), some_choices().back()}) {
    CAPTURE(choice.name);
    const StoredModel stored(spec, choice);
    const Team team(1);
    const PlannedWorkload workload{
        .context = 480, .prompt_tokens = 400, .sequences = 2, .threads = team.size()};
    const MemoryNeed need = memory_need(stored, workload, 0);
    const Model model(std::make_shared<MadeUpWeights>(stored), team);
    const int64_t before = anonymous_bytes();
    const auto decoder = std::make_shared<Decoder>(model, team, workload.rows(), workload.context);
    std::vector<Session> sessions;
    std::vector<Session*> all;
    sessions.reserve(2);
    const std::vector<int32_t> tokens(400, 1);
    for (int i = 0; i < 2; ++i) {
      Session& session = sessions.emplace_back(decoder, workload.context, workload.kv_cache);
      session.forward(tokens);
      session.forward(
          std::span(tokens).first(static_cast<size_t>(workload.context - session.position() - 1)));
      all.push_back(&session);
    }
    Session::step(all, std::vector<int32_t>(2, 1));
    const auto taken = static_cast<double>(anonymous_bytes() - before);
    const auto said = static_cast<double>(need.scratch_bytes + need.kv_cache_bytes);
    CHECK(said > 20e6);
    CHECK(taken > 0.97 * said - 1e6);
    CHECK(taken < 1.03 * said + 4e6);
    CHECK(need.weights_bytes == stored.weight_bytes());
  }
}

TEST_CASE("The peak is what runs, or what is read beside what has been packed") {
  const ModelSpec spec = small_specs().front();
  const StoredModel stored(spec, {"f16"});
  const PlannedWorkload one{.context = 1, .prompt_tokens = 1};
  const MemoryNeed need = memory_need(stored, one, 1000);
  CHECK(need.running_bytes() == need.weights_bytes + need.kv_cache_bytes + need.scratch_bytes + 1000);
  CHECK(need.peak_bytes() >= need.running_bytes());
  CHECK(need.loading_bytes > need.weights_bytes);
  CHECK(need.loading_bytes <= need.weights_bytes + 2 * stored.file_bytes());
}

TEST_CASE("Memory that no number can count is an error") {
  ModelSpec spec = small_specs().front();
  spec.num_hidden_layers = 10'000;
  spec.num_key_value_heads = spec.num_attention_heads = 1 << 14;
  spec.head_dim = 256;
  spec.hidden_size = 1 << 20;
  spec.intermediate_size = 1 << 22;
  spec.layers.clear();
  const StoredModel stored(spec, {"f16"});
  int answered = 0, refused = 0;
  for (const int64_t sequences : {1, 8, 32, 40, 48, 50, 52, 53, 1024}) try {
      const MemoryNeed need =
          memory_need(stored, {.context = 1 << 20, .prompt_tokens = 1, .sequences = sequences}, 0);
      CHECK(need.running_bytes() > need.kv_cache_bytes);
      CHECK(need.peak_bytes() >= need.running_bytes());
      ++answered;
    } catch (const Error&) {
      ++refused;
    }
  CHECK(answered > 0);
  CHECK(refused > 0);
}
