#include "quant/structure/pruned_weights.h"

#include <numeric>

#include "kernels/error.h"
#include "tests/support/model_variants.h"
#include "tests/support/paths.h"
#include "tests/support/pruned_folders.h"

using namespace whittle;
using namespace whittle::test;
namespace fs = std::filesystem;
using nlohmann::json;

namespace {

// A model with these parts of each layer.
std::shared_ptr<PrunedWeights> pruned(const FolderWeights& source, const std::vector<Kept>& kept,
                                      const Team& team) {
  Shapes shapes;
  for (const Kept& layer : kept) shapes.push_back({std::ssize(layer.neurons), std::ssize(layer.kv_heads)});
  auto out = std::make_shared<PrunedWeights>(source, shapes, team);
  for (size_t i = 0; i < kept.size(); ++i)
    out->keep(static_cast<int64_t>(i), {kept[i].neurons, kept[i].kv_heads});
  return out;
}

std::vector<int64_t> all_of(int64_t count) {
  std::vector<int64_t> all(static_cast<size_t>(count));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

// Without every so manieth.
std::vector<int64_t> some(int64_t count, int64_t leave_out) {
  std::vector<int64_t> kept;
  for (int64_t i = 0; i < count; ++i)
    if (i % leave_out != 1) kept.push_back(i);
  return kept;
}

}  // namespace

TEST_CASE("A pruned model of any family says what the whole one says where what is gone adds nothing") {
  const TemporaryFolder folder;
  const Team team(2);
  for (const fs::path& path : write_model_variants(folder.path())) {
    const FolderWeights source(path, &team);
    const int64_t neurons = source.spec().intermediate_size, heads = source.spec().num_key_value_heads;
    const bool alibi = source.spec().positions == Positions::alibi;
    const std::vector<int64_t> all_heads = all_of(heads), few_heads = alibi ? all_heads : some(heads, 2);
    const std::vector<std::vector<Kept>> cases = {
        {{some(neurons, 3), few_heads}, {some(neurons, 3), few_heads}},  // alike
        {{some(neurons, 2), few_heads}, {some(neurons, 5), all_heads}},  // of other sizes
        {{{}, all_heads}, {some(neurons, 5), {}}},                       // halves
        {{{}, {}}, {all_of(neurons), all_heads}},                        // a layer, and then one
        {{some(neurons, 4), all_heads}, {{}, {}}},
    };
    for (const std::vector<Kept>& kept : cases) {
      CAPTURE(path.filename(), &kept - cases.data());
      const auto model = pruned(source, kept, team);
      const auto zeroed =
          std::make_shared<FolderWeights>(write_pruned(path, folder.path() / "zeroed", kept, true));
      CHECK(logits_of(model, team) == logits_of(zeroed, team));
    }
  }
}

TEST_CASE("What a family's own fields can say stands there, and nothing else") {
  const TemporaryFolder folder;
  const Team team(1);
  const auto config = [&](const fs::path& path, const std::vector<Kept>& kept) {
    const FolderWeights source(path);
    return pruned(source, kept, team)->config();
  };
  write_tiny_model(folder.path(), {.num_attention_heads = 6, .num_key_value_heads = 3});
  const std::vector<int64_t> three = {0, 1, 2}, two = {0, 2};
  const std::vector<int64_t> all = all_of(16), few = some(16, 4);
  json before = config_of(TinyModel{.num_attention_heads = 6, .num_key_value_heads = 3});
  CHECK(config(folder.path(), {{all, three}, {all, three}}) == before);
  json after = before;
  after["intermediate_size"] = few.size();
  CHECK(config(folder.path(), {{few, three}, {few, three}}) == after);
  after = before;
  after["num_key_value_heads"] = 2;
  after["num_attention_heads"] = 4;
  CHECK(config(folder.path(), {{all, two}, {all, {1, 2}}}) == after);
  after = before;
  after["num_hidden_layers"] = 1;
  CHECK(config(folder.path(), {{{}, {}}, {all, three}}) == after);
  after = before;
  after["whittle_layers"] = {{{"intermediate_size", few.size()}, {"num_key_value_heads", 3}},
                             {{"intermediate_size", 16}, {"num_key_value_heads", 0}}};
  CHECK(config(folder.path(), {{few, three}, {all, {}}}) == after);
  // What no layer has any more is not asked for.
  after["intermediate_size"] = few.size();
  after["whittle_layers"][1] = {{"intermediate_size", few.size()}, {"num_key_value_heads", 0}};
  CHECK(config(folder.path(), {{few, three}, {few, {}}}) == after);

  // GPT-2's name for the width; its heads always make up the stream. BLOOM's width is four times the
  // stream's.
  const fs::path gpt2 = write_family(folder.path() / "gpt2", {.hidden = 16, .heads = 4}),
                 bloom = write_family(folder.path() / "bloom", {.gpt2 = false, .hidden = 16, .heads = 4});
  const std::vector<int64_t> four = all_of(4), wide = all_of(64), narrow = some(64, 2);
  after = config_of(TinyFamily{.hidden = 16, .heads = 4});
  after["n_inner"] = narrow.size();
  CHECK(config(gpt2, {{narrow, four}, {narrow, four}}) == after);
  after = config_of(TinyFamily{.hidden = 16, .heads = 4});
  after["whittle_layers"] = {{{"intermediate_size", 64}, {"num_key_value_heads", 3}},
                             {{"intermediate_size", 64}, {"num_key_value_heads", 3}}};
  CHECK(config(gpt2, {{wide, three}, {wide, three}}) == after);
  after = config_of(TinyFamily{.gpt2 = false, .hidden = 16, .heads = 4});
  after["whittle_layers"] = {{{"intermediate_size", 32}, {"num_key_value_heads", 4}},
                             {{"intermediate_size", 32}, {"num_key_value_heads", 4}}};
  CHECK(config(bloom, {{narrow, four}, {narrow, four}}) == after);
  after = config_of(TinyFamily{.gpt2 = false, .hidden = 16, .heads = 4});
  after["n_layer"] = 1;
  CHECK(config(bloom, {{wide, four}, {{}, {}}}) == after);
  CHECK_THROWS_WITH(config(bloom, {{wide, three}, {wide, four}}), Catch::Contains("ALiBi"));
  CHECK_THROWS_WITH(config(gpt2, {{{}, {}}, {{}, {}}}), Catch::Contains("nothing is left"));
}

TEST_CASE("Layers that move up keep the windows that they look back over") {
  const TemporaryFolder folder;
  const Team team(1);
  const TinyModel tiny = {.architecture = "Qwen2ForCausalLM", .num_hidden_layers = 4};
  write_tiny_model(folder.path(), tiny);
  const std::vector<int64_t> all = all_of(16), one = {0};
  for (const bool types : {true, false}) {
    json config = config_of(tiny);
    config["use_sliding_window"] = true;
    config["sliding_window"] = 5;
    config["max_window_layers"] = 2;
    if (types)
      config["layer_types"] = {"full_attention", "full_attention", "sliding_attention", "sliding_attention"};
    write_text(folder.path() / "config.json", config.dump());
    const FolderWeights source(folder.path());
    for (int64_t gone = 0; gone < 4; ++gone) {
      std::vector<Kept> kept(4, Kept{all, one});
      kept[static_cast<size_t>(gone)] = {};
      const auto model = pruned(source, kept, team);
      REQUIRE(model->spec().num_hidden_layers == 3);
      for (int64_t i = 0; i < 4; ++i)
        if (i != gone) CHECK(model->spec().window(model->layer_of(i)) == source.spec().window(i));
      CHECK(logits_of(model, team) == logits_of(std::make_shared<FolderWeights>(write_pruned(
                                                    folder.path(), folder.path() / "zeroed", kept, true)),
                                                team));
    }
  }
}

TEST_CASE("A model that was pruned can be pruned again") {
  const TemporaryFolder folder;
  const Team team(1);
  write_tiny_model(folder.path(), {.num_attention_heads = 6, .num_key_value_heads = 3});
  const std::vector<int64_t> three = {0, 1, 2}, all = all_of(16), few = some(16, 4);
  const fs::path once =
      write_pruned(folder.path(), folder.path() / "once", {{few, {}}, {all, {0, 2}}}, false);
  const FolderWeights source(once);
  const std::vector<Kept> kept = {{some(12, 3), {}}, {{}, {1}}};
  CHECK(logits_of(pruned(source, kept, team), team) ==
        logits_of(std::make_shared<FolderWeights>(write_pruned(once, folder.path() / "zeroed", kept, true)),
                  team));
  CHECK_THROWS_AS(pruned(source, {{all, {}}, {all, {0}}}, team), Error);
}

TEST_CASE("Other values are rounded to the file's type, and refused beyond it") {
  const TemporaryFolder folder;
  const Team team(1);
  write_tiny_model(folder.path(), {.dtype = "F16", .mlp_bias = true});
  const FolderWeights source(folder.path());
  Shapes shapes = shapes_of(source.spec());
  shapes[1].intermediate_size = 3;
  PrunedWeights model(source, shapes, team);
  const Module& down = *model.inventory().find(1, Role::down);
  std::vector<float> values(static_cast<size_t>(down.rows * down.cols), 1.0f / 3), change(8, 0.25f);
  model.replace(down, values, change);
  const WeightMatrix matrix = model.matrix(down);
  CHECK(matrix.format == WeightFormat::f16);
  CHECK(values_of(matrix) == std::vector<float>(values.size(), f16_to_float(float_to_f16(1.0f / 3))));
  const std::vector<float> before = source.bias(model.origin(down)), after = model.bias(down);
  for (size_t n = 0; n < 8; ++n) CHECK(after[n] == f16_to_float(float_to_f16(before[n] + 0.25f)));
  values[4] = 1e6f;
  CHECK_THROWS_WITH(model.replace(down, values, change), Catch::Contains("down_proj"));
}
