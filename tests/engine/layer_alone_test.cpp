// A layer is the same alone as inside its model: calibration and drift by layer stand on it.

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "engine/decoder.h"
#include "engine/layer.h"
#include "engine/layer_runner.h"
#include "kernels/error.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_families.h"

using namespace whittle;
using namespace whittle::test;

namespace {

// A small model of every family, with what it has beside the others: windows, biases, norms of heads.
std::vector<std::filesystem::path> write_families(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> families;
  for (const char* architecture :
       {"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"}) {
    const TinyModel model = {.architecture = architecture,
                             .hidden_size = 40,
                             .intermediate_size = 72,
                             .num_attention_heads = 4,
                             .num_key_value_heads = 2,
                             .head_dim = 10,
                             .vocab_size = 60,
                             .tied = false};
    nlohmann::ordered_json config = config_of(model);
    if (config["model_type"] == "mistral") config["sliding_window"] = 20;
    families.push_back(folder / architecture);
    std::filesystem::create_directories(families.back());
    write_text(families.back() / "config.json", config.dump());
    write_safetensors(families.back() / "model.safetensors", tensors_of(model));
  }
  for (const bool gpt2 : {true, false})
    families.push_back(write_family(folder / (gpt2 ? "gpt2" : "bloom"), {.gpt2 = gpt2}));
  return families;
}

}  // namespace

TEST_CASE("A layer alone, with its inputs observed, equals the layer inside its model bit for bit") {
  const TemporaryFolder folder;
  const std::vector<std::filesystem::path> families = write_families(folder.path());
  for (const std::filesystem::path& family : families)
    for (const int threads : {1, 2}) {
      const Team team(threads);
      const Model model(family, team);
      const ModelSpec& spec = model.spec();
      const int64_t rows = 50;
      std::vector<int32_t> ids;
      for (int32_t id = 0; id < rows; ++id) ids.push_back(7 * id % static_cast<int32_t>(spec.vocab_size));
      CAPTURE(family, threads);

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
