// Layers that differ in what they have: narrower MLPs, fewer heads, no attention, no MLP.

#include <catch2/catch.hpp>

#include "kernels/error.h"
#include "tests/support/model_variants.h"
#include "tests/support/paths.h"
#include "tests/support/pruned_folders.h"
#include "tests/support/reference_decoder.h"

using namespace whittle;
using namespace whittle::test;
namespace fs = std::filesystem;
using nlohmann::json;

namespace {

std::vector<int64_t> every(int64_t step, int64_t first, int64_t count) {
  std::vector<int64_t> all;
  for (int64_t i = first; i < count; i += step) all.push_back(i);
  return all;
}

// Layer 0 keeps some of everything, layer 1 one half alone. ALiBi's heads go together or not at all.
std::vector<Kept> some_parts(const ModelSpec& spec, bool attention) {
  const int64_t neurons = spec.intermediate_size, heads = spec.num_key_value_heads;
  const bool alibi = spec.positions == Positions::alibi;
  return {{every(3, 1, neurons), alibi ? every(1, 0, heads) : every(2, 1, heads)},
          attention ? Kept{{}, every(1, 0, heads)} : Kept{every(1, 0, neurons - 1), {}}};
}

std::vector<float> logits(const fs::path& folder, int threads) {
  return logits_of(std::make_shared<FolderWeights>(folder), Team(threads));
}

}  // namespace

TEST_CASE("A layer without some parts says what it says with these parts adding nothing") {
  const TemporaryFolder folder;
  for (const fs::path& model : write_model_variants(folder.path()))
    for (const bool attention : {true, false}) {
      CAPTURE(model.filename(), attention);
      const std::vector<Kept> kept = some_parts(FolderWeights(model).spec(), attention);
      const fs::path zeroed = write_pruned(model, folder.path() / "zeroed", kept, true),
                     pruned = write_pruned(model, folder.path() / "pruned", kept, false);
      // Zeros change no sum.
      const std::vector<float> expected = logits(zeroed, 2);
      CHECK(expected != logits(model, 2));
      CHECK(logits(pruned, 1) == expected);
      CHECK(logits(pruned, 2) == expected);
    }
}

TEST_CASE("Layers that differ agree with a decoder in double precision") {
  const TemporaryFolder folder;
  for (const fs::path& model : write_model_variants(folder.path()))
    for (const bool attention : {true, false}) {
      CAPTURE(model.filename(), attention);
      const FolderWeights source(write_pruned(model, folder.path() / "pruned",
                                              some_parts(FolderWeights(model).spec(), attention), false));
      const Model loaded(std::shared_ptr<const WeightSource>(&source, [](const WeightSource*) {}), Team(1));
      const Team team(1);
      Session session(loaded, team, {.context = 12, .kv_cache = KvFormat::f32});
      const std::vector<int32_t> ids = {1, 5, 2, 7, 7, 3, 0, 11, 4, 9};
      const Logits ours = session.forward_all(ids);
      const Rows theirs = ReferenceDecoder(source).logits(ids);
      double error = 0, power = 0;
      for (size_t t = 0; t < ids.size(); ++t)
        for (size_t i = 0; i < theirs[t].size(); ++i) {
          const double difference = static_cast<double>(ours.row(static_cast<int64_t>(t))[i]) - theirs[t][i];
          error += difference * difference;
          power += theirs[t][i] * theirs[t][i];
        }
      CHECK(std::sqrt(error / power) < 60 * 30 * 0x1p-24);  // as in scaling_test.cpp
    }
}

TEST_CASE("A cache has room for the heads that a layer has, and for no others") {
  ModelSpec spec;
  spec.num_hidden_layers = 3;
  spec.num_attention_heads = 8;
  spec.num_key_value_heads = 4;
  spec.head_dim = 8;
  const int64_t all = KvCache::bytes(spec, KvFormat::f16, 10);
  spec.layers = {{16, 4}, {16, 0}, {0, 1}};
  CHECK(KvCache::bytes(spec, KvFormat::f16, 10) == all * 5 / 12);
  KvCache cache(spec, KvFormat::f16, 16);
  CHECK(cache.head(2, 0).keys - cache.head(0, 3).keys == cache.head(0, 1).keys - cache.head(0, 0).keys);
}

TEST_CASE("A config that says what layers have is refused where that cannot be") {
  const TemporaryFolder folder;
  const json good = {{"intermediate_size", 16}, {"num_key_value_heads", 1}};
  const auto with = [&](const char* field, const json& value) {
    json layer = good;
    layer[field] = value;
    return json{good, layer};
  };
  const struct {
    json layers;
    const char* named;
  } cases[] = {
      {4, "whittle_layers"},
      {json::object(), "whittle_layers"},
      {json::array({good}), "num_hidden_layers"},
      {json::array({good, good, good}), "num_hidden_layers"},
      {json::array({good, 4}), "layer 1"},
      {json::array({good, json::array()}), "layer 1"},
      {json::array({good, {{"intermediate_size", 16}}}), "num_key_value_heads"},
      {json::array({good, {{"num_key_value_heads", 1}}}), "intermediate_size"},
      {with("intermediate_size", 17), "intermediate_size"},
      {with("intermediate_size", -1), "intermediate_size"},
      {with("intermediate_size", "16"), "intermediate_size"},
      {with("intermediate_size", 15.5), "intermediate_size"},
      {with("intermediate_size", uint64_t{1} << 63), "intermediate_size"},
      {with("intermediate_size", nullptr), "intermediate_size"},
      {with("num_key_value_heads", 2), "num_key_value_heads"},
      {with("num_key_value_heads", -1), "num_key_value_heads"},
      {with("num_key_value_heads", true), "num_key_value_heads"},
      {with("head_dim", 4), "head_dim"},
      {json::array({good, {{"intermediate_size", 0}, {"num_key_value_heads", 0}}}), "neither"},
  };
  write_tiny_model(folder.path());
  for (const auto& [layers, named] : cases) {
    CAPTURE(layers.dump());
    json config = config_of(TinyModel{});
    config["whittle_layers"] = layers;
    write_text(folder.path() / "config.json", config.dump());
    try {
      FolderWeights weights(folder.path());
      FAIL_CHECK("was accepted");
    } catch (const Error& error) {
      const std::string what = error.what();
      CHECK(what.find("config.json") != what.npos);
      CHECK(what.find("whittle_layers") != what.npos);
      CHECK(what.find(named) != what.npos);
    }
  }
  // Tensors of another size than it says.
  json config = config_of(TinyModel{});
  config["whittle_layers"] = with("intermediate_size", 12);
  write_text(folder.path() / "config.json", config.dump());
  CHECK_THROWS_AS(Model(folder.path(), Team(1)), Error);
  // Heads whose places ALiBi's slopes say.
  write_family(folder.path() / "bloom", {.gpt2 = false, .heads = 4, .layers = 1});
  json bloom = config_of(TinyFamily{.gpt2 = false, .heads = 4, .layers = 1});
  bloom["whittle_layers"] = {{{"intermediate_size", 256}, {"num_key_value_heads", 3}}};
  write_text(folder.path() / "bloom" / "config.json", bloom.dump());
  CHECK_THROWS_WITH(FolderWeights(folder.path() / "bloom"), Catch::Contains("ALiBi"));
}
