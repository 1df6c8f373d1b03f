// Every family against values that Hugging Face's own code computed in float32.

#include <catch2/catch.hpp>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "engine/decoder.h"
#include "engine/session.h"
#include "kernels/error.h"
#include "tests/support/paths.h"

using namespace whittle;
using namespace whittle::test;

namespace {

constexpr const char* families[] = {"gpt2", "bloom", "qwen3"};

struct Golden {
  std::vector<int32_t> ids, greedy;
  std::vector<float> logits_first, logits_last;
  std::optional<double> nll;
};

std::vector<Golden> read_golden(const std::filesystem::path& folder) {
  std::ifstream file(folder / "golden.json");
  std::vector<Golden> prompts;
  const nlohmann::json golden_file = nlohmann::json::parse(file);
  REQUIRE_FALSE(golden_file.at("prompts").empty());
  for (const nlohmann::json& prompt : golden_file["prompts"]) {
    Golden& golden = prompts.emplace_back(
        Golden{prompt["ids"], prompt["greedy"], prompt["logits_first"], prompt["logits_last"], std::nullopt});
    if (!prompt["nll"].is_null()) golden.nll = prompt["nll"].get<double>();
  }
  return prompts;
}

double largest_difference(std::span<const float> ours, const std::vector<float>& theirs) {
  REQUIRE(ours.size() == theirs.size());
  double largest = 0;
  for (size_t i = 0; i < theirs.size(); ++i)
    largest = std::max(largest, std::abs(static_cast<double>(ours[i]) - static_cast<double>(theirs[i])));
  return largest;
}

double negative_log_likelihood(std::span<const float> logits, int32_t id) {
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
  return std::log(sum) - static_cast<double>(logits[static_cast<size_t>(id)]);
}

int32_t most_likely(std::span<const float> logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

}  // namespace

TEST_CASE("Logits, likelihoods and greedy ids are those of Hugging Face's code") {
  WHITTLE_NEEDS_SHARED(shared);
  const Team team(2);
  for (const char* family : families) {
    const auto folder = shared / "data" / "architectures" / family;
    const Model model(folder, team);
    for (const Golden& golden : read_golden(folder)) {
      CAPTURE(family, golden.ids.size());
      Session session(model, team, {.kv_cache = KvFormat::f32});
      double nll = 0;
      for (size_t i = 0; i < golden.ids.size(); ++i) {
        const Logits logits = session.forward({&golden.ids[i], 1});
        if (i == 0) CHECK(largest_difference(logits.row(0), golden.logits_first) < 1e-3);
        if (i + 1 == golden.ids.size())
          CHECK(largest_difference(logits.row(0), golden.logits_last) < 1e-3);
        else
          nll += negative_log_likelihood(logits.row(0), golden.ids[i + 1]);
      }
      if (golden.nll) CHECK(std::abs(nll / static_cast<double>(golden.ids.size() - 1) - *golden.nll) < 1e-5);
      session.rewind(0);
      int32_t next = most_likely(session.forward(golden.ids).row(0));
      std::vector<int32_t> greedy;
      while (greedy.size() < golden.greedy.size()) {
        greedy.push_back(next);
        if (greedy.size() < golden.greedy.size()) next = most_likely(session.forward({&next, 1}).row(0));
      }
      CHECK(greedy == golden.greedy);
    }
  }
}

TEST_CASE("A layer alone, with its inputs observed, equals the layer inside its model bit for bit") {
  WHITTLE_NEEDS_SHARED(shared);
  for (const char* family : families)
    for (const int threads : {1, 2}) {
      const Team team(threads);
      const auto folder = shared / "data" / "architectures" / family;
      const Model model(folder, team);
      const ModelSpec& spec = model.spec();
      const std::vector<int32_t> ids = read_golden(folder).back().ids;
      const auto rows = static_cast<int64_t>(ids.size());
      CAPTURE(family, threads, rows);

      // What passes through the whole model: the stream before each layer, and what each linear reads.
      using Rows = std::vector<float>;
      std::vector<Rows> streams, inputs;
      const auto copy = [](FloatRows seen, int64_t cols) {
        Rows values;
        for (int64_t m = 0; m < seen.rows; ++m)
          values.insert(values.end(), seen.values + m * seen.stride, seen.values + m * seen.stride + cols);
        return values;
      };
      std::vector<std::pair<int32_t, Role>> readers;
      const auto watch = [&](std::vector<Rows>& to, std::vector<std::pair<int32_t, Role>>& of) {
        return [&](int32_t layer, Role reader, FloatRows input) {
          const Module* module = layer < 0 ? model.source().inventory().find(reader)
                                           : model.source().inventory().find(layer, reader);
          of.emplace_back(layer, reader);
          to.push_back(copy(input, module ? module->cols : spec.hidden_size));
        };
      };
      Decoder decoder(model, team, rows, rows);
      KvCache cache(spec, KvFormat::f16, rows);
      std::vector<DecoderRow> step;
      for (int64_t m = 0; m < rows; ++m) step.push_back({ids[static_cast<size_t>(m)], &cache, m});
      const Observer whole = {
          [&](int32_t, FloatRows hidden) { streams.push_back(copy(hidden, spec.hidden_size)); },
          watch(inputs, readers)};
      decoder.observe(&whole);
      decoder.step(step, rows);
      REQUIRE(streams.size() == model.layers().size() + 1);
      REQUIRE(inputs.size() == 4 * model.layers().size() + 1);
      CHECK(readers.back() == std::pair(-1, Role::head));

      KvCache other(spec, KvFormat::f16, rows);
      for (DecoderRow& row : step) row.cache = &other;
      for (size_t i = 0; i < model.layers().size(); ++i) {
        // Not the model's copy of the layer either: one that was loaded by itself.
        const auto index = static_cast<int32_t>(i);
        const DecoderLayer layer = load_layer(model.source(), index, team);
        LayerRunner runner(spec, model.activation_group_sizes(), team, rows, rows);
        std::vector<Rows> seen;
        std::vector<std::pair<int32_t, Role>> by;
        const Observer alone = {{}, watch(seen, by)};
        runner.observe(&alone);
        Rows hidden = streams[i];
        runner.run_alone(layer, index, step, hidden.data(), spec.hidden_size);
        CHECK(hidden == streams[i + 1]);
        REQUIRE(seen.size() == 4);
        for (size_t k = 0; k < 4; ++k) CHECK(seen[k] == inputs[4 * i + k]);
      }
    }
}

TEST_CASE("A layer is not run alone where it does not fit") {
  const Team team(1);
  const Model model(reference_model(), team);
  const ModelSpec& spec = model.spec();
  KvCache cache(spec, KvFormat::f16, 16);
  std::vector<float> hidden(static_cast<size_t>(2 * spec.hidden_size));
  const auto run = [&](LayerRunner& runner, int32_t index, std::vector<DecoderRow> rows) {
    runner.run_alone(model.layers()[0], index, rows, hidden.data(), spec.hidden_size);
  };
  LayerRunner runner(spec, model.activation_group_sizes(), team, 1, 16), without(spec, {8}, team, 1, 16);
  CHECK_NOTHROW(run(runner, 0, {{0, &cache, 0}}));
  CHECK_THROWS_AS(run(runner, -1, {{0, &cache, 0}}), Error);
  CHECK_THROWS_AS(run(runner, 8, {{0, &cache, 0}}), Error);
  CHECK_THROWS_AS(run(runner, 0, {{0, &cache, 16}}), Error);
  CHECK_THROWS_AS(run(runner, 0, {{0, &cache, -1}}), Error);
  CHECK_THROWS_AS(run(runner, 0, {{0, &cache, 0}, {0, &cache, 1}}), Error);
  CHECK_THROWS_AS(run(without, 0, {{0, &cache, 0}}), Error);
  CHECK_THROWS_WITH(KvCache(spec, KvFormat::f16, int64_t{1} << 60), Catch::Contains("fit"));
}
