#include "quant/structure/prune.h"

#include <fstream>

#include "kernels/error.h"
#include "quant/gguf/export.h"
#include "quant/structure/part_costs.h"
#include "quant/structure/prune_report.h"
#include "tests/support/model_variants.h"
#include "tests/support/paths.h"
#include "tests/support/pruned_folders.h"
#include "tests/support/window_files.h"

using namespace whittle;
using namespace whittle::test;
namespace fs = std::filesystem;
using nlohmann::json;

namespace {

const StageProgress silent = [](int64_t, int64_t, const std::string&) {};
constexpr int64_t vocab = 40;

std::vector<fs::path> write_models(const fs::path& folder) {
  return write_architectures(folder,
                             {.hidden_size = 24,
                              .intermediate_size = 36,
                              .num_hidden_layers = 3,
                              .num_attention_heads = 4,
                              .num_key_value_heads = 2,
                              .head_dim = 6,
                              .vocab_size = vocab,
                              .dtype = "F16"},
                             {.hidden = 24, .heads = 4, .layers = 3, .vocab = vocab});
}

PruneRecipe recipe(const fs::path& windows) {
  PruneRecipe recipe;
  recipe.calibration.source = windows;
  return recipe;
}

PruneReport pruned(const fs::path& source, const fs::path& out, const PruneRecipe& recipe, int threads = 2) {
  return prune(source, out, recipe, Team(threads), {.version = "test"}, {});
}

std::vector<float> logits(const fs::path& folder) {
  return logits_of(std::make_shared<FolderWeights>(folder), Team(1));
}

int64_t neurons(const Shapes& shapes) {
  int64_t sum = 0;
  for (const LayerShape& layer : shapes) sum += layer.intermediate_size;
  return sum;
}

}  // namespace

TEST_CASE("Every way to prune every family ends in a folder that loads, and is what was asked for") {
  const TemporaryFolder folder;
  const fs::path windows = write_windows(folder.path());
  for (const fs::path& model : write_models(folder.path())) {
    const FolderWeights source(model);
    const ModelSpec& spec = source.spec();
    const int64_t layer = layer_weights(spec, shapes_of(spec)) / 3;
    int number = 0;
    const auto out = [&] {
      return folder.path() / fmt::format("{}-{}", model.filename().string(), number++);
    };
    CAPTURE(model.filename());
    PruneRecipe narrow = recipe(windows);
    narrow.mlp_width = 0.75;
    for (const bool alike : {false, true}) {
      narrow.alike = alike;
      const fs::path path = out();
      const PruneReport report = pruned(model, path, narrow);
      CHECK(neurons(report.recipe.layers) ==
            Approx(0.75 * static_cast<double>(neurons(report.before))).margin(8));
      CHECK(shapes_of(FolderWeights(path).spec()) == report.recipe.layers);
      CHECK(report.written_bytes < report.source_bytes);
      REQUIRE(report.held_out);
      CHECK(report.held_out->kl.mean > 0);
      // BLOOM's own config has no place for a width.
      CHECK(report.own_fields == (!alike || spec.model_type == "bloom"));
    }
    PruneRecipe blocks = recipe(windows);
    blocks.blocks = 1;
    for (const bool alike : {false, true}) {
      blocks.alike = alike;
      const fs::path path = out();
      const PruneReport report = pruned(model, path, blocks);
      CHECK(report.weights <= report.weights_before - layer);
      if (!alike) continue;
      CHECK(FolderWeights(path).spec().num_hidden_layers == 2);
      CHECK(!report.own_fields);
    }
    PruneRecipe heads = recipe(windows);
    heads.kv_heads = 1;
    if (spec.positions == Positions::alibi) {
      CHECK_THROWS_WITH(pruned(model, out(), heads), Catch::Contains("ALiBi"));
    } else {
      const fs::path path = out();
      const PruneReport report = pruned(model, path, heads);
      CHECK(report.cache * spec.num_key_value_heads == report.cache_before * (spec.num_key_value_heads - 1));
      for (const LayerShape& kept : report.recipe.layers)
        CHECK(kept.num_key_value_heads == spec.num_key_value_heads - 1);
      CHECK(report.own_fields == (spec.model_type == "gpt2"));
      CHECK(logits(path).size() == logits(model).size());
    }
  }
}

TEST_CASE("Parts that add nothing are those that go, and nothing is lost") {
  const TemporaryFolder folder;
  const fs::path windows = write_windows(folder.path());
  for (const fs::path& model : write_models(folder.path())) {
    const FolderWeights source(model);
    const ModelSpec& spec = source.spec();
    CAPTURE(model.filename());
    const int64_t all = spec.intermediate_size, heads = spec.num_key_value_heads;
    const bool alibi = spec.positions == Positions::alibi;
    // Layer 1 has lost three quarters of its neurons, and every layer one head.
    std::vector<Kept> kept(3);
    const int64_t step = part_step(all);
    for (int64_t i = 0; i < 3; ++i) {
      Kept& layer = kept[static_cast<size_t>(i)];
      for (int64_t k = 0; k < (i == 1 ? all / 4 / step * step : all); ++k)
        layer.neurons.push_back((k * 5 + i) % all);
      std::ranges::sort(layer.neurons);
      for (int64_t head = 0; head < heads; ++head)
        if (alibi || head != i % heads) layer.kv_heads.push_back(head);
    }
    const fs::path zeroed = write_pruned(model, folder.path() / "zeroed", kept, true);
    const std::vector<float> expected = logits(zeroed);
    PruneRecipe narrow = recipe(windows);
    narrow.mlp_width = static_cast<double>(2 * all + all / 4 / step * step) / static_cast<double>(3 * all);
    const fs::path out = folder.path() / (model.filename().string() + "-narrow");
    const PruneReport report = pruned(zeroed, out, narrow);
    CHECK(report.recipe.layers[1].intermediate_size == std::ssize(kept[1].neurons));
    CHECK(relative_difference(expected, logits(out)) < 1e-3);  // the weights are F16, once fitted
    CHECK(report.held_out->kl.mean < 1e-5);                    // keys and values are f16
    if (alibi) continue;
    PruneRecipe fewer = recipe(windows);
    fewer.kv_heads = 1;
    fewer.fitted = false;
    pruned(zeroed, folder.path() / (model.filename().string() + "-heads"), fewer);
    CHECK(logits(folder.path() / (model.filename().string() + "-heads")) == expected);
  }
}

TEST_CASE("Of layers that differ each loses as many heads, and keeps one if it had any") {
  const TemporaryFolder folder;
  const fs::path source = folder.path() / "source", uneven = folder.path() / "uneven",
                 out = folder.path() / "out";
  fs::create_directory(source);
  write_tiny_model(source, {.hidden_size = 32,
                            .intermediate_size = 36,
                            .num_hidden_layers = 4,
                            .num_attention_heads = 8,
                            .num_key_value_heads = 4,
                            .head_dim = 4,
                            .vocab_size = vocab});
  PruneRecipe shapes = recipe(write_windows(folder.path()));
  shapes.layers = {{36, 4}, {36, 3}, {36, 1}, {36, 0}};
  pruned(source, uneven, shapes);
  PruneRecipe fewer = recipe(folder.path() / "windows.json");
  fewer.kv_heads = 2;
  const Shapes expected = {{36, 2}, {36, 1}, {36, 1}, {36, 0}};
  CHECK(pruned(uneven, out, fewer).recipe.layers == expected);
  CHECK(shapes_of(FolderWeights(out).spec()) == expected);
}

TEST_CASE("A fit brings the stream nearer to the original's") {
  const TemporaryFolder folder;
  const fs::path windows = write_windows(folder.path());
  for (const fs::path& model : write_models(folder.path())) {
    CAPTURE(model.filename());
    PruneRecipe narrow = recipe(windows);
    narrow.mlp_width = 0.5;
    narrow.alike = true;
    const PruneReport fitted = pruned(model, folder.path() / "fitted", narrow);
    narrow.fitted = false;
    const PruneReport plain = pruned(model, folder.path() / "plain", narrow);
    CHECK(plain.fitted.empty());
    CHECK(!fitted.fitted.empty());
    for (const FittedLinear& linear : fitted.fitted) CHECK(linear.after < linear.before);
    fs::remove_all(folder.path() / "fitted");
    fs::remove_all(folder.path() / "plain");
  }
}

TEST_CASE("What goes stays within the limit, and what a run decided can be done again, to the bit") {
  const TemporaryFolder folder;
  const fs::path windows = write_windows(folder.path()), model = write_models(folder.path()).front();
  PruneRecipe all = recipe(windows);
  all.mlp_width = 0.5;
  const double half = pruned(model, folder.path() / "half", all).held_out->kl.mean;
  for (const PrunedParts parts :
       {PrunedParts::mlp_width, PrunedParts::blocks, PrunedParts::kv_heads, PrunedParts::all}) {
    CAPTURE(name(parts));
    PruneRecipe within = recipe(windows);
    within.parts = parts;
    within.max_kl = 4 * half;
    const fs::path out = folder.path() / name(parts);
    const PruneReport report = pruned(model, out, within, 1);
    CHECK(report.held_out->kl.mean <= *within.max_kl);
    CHECK(report.weights < report.weights_before);
    const PruneRecipe again =
        read_prune_recipe(json::parse(std::ifstream(out / "recipe.json")), "recipe.json");
    CHECK(again.layers == report.recipe.layers);
    const PruneReport repeated = pruned(model, folder.path() / "again", again, 2);
    CHECK(repeated.held_out->kl.mean == report.held_out->kl.mean);
    CHECK(logits(folder.path() / "again") == logits(out));
    fs::remove_all(folder.path() / "again");
  }
  PruneRecipe nothing = recipe(windows);
  nothing.max_kl = 1e-12;
  CHECK_THROWS_AS(pruned(model, folder.path() / "nothing", nothing), Error);
  CHECK(!fs::exists(folder.path() / "nothing"));
}

TEST_CASE("Of every family as much goes as a limit allows") {
  const TemporaryFolder folder;
  const fs::path windows = write_windows(folder.path());
  for (const fs::path& model : write_models(folder.path())) {
    CAPTURE(model.filename());
    PruneRecipe within = recipe(windows);
    within.max_kl = 0.02;
    const fs::path out = folder.path() / (model.filename().string() + "-small");
    const PruneReport report = pruned(model, out, within);
    CHECK(report.held_out->kl.mean <= 0.02);
    CHECK(report.weights < report.weights_before);
    CHECK(shapes_of(FolderWeights(out).spec()).size() <= 3);
    CHECK(logits(out).size() == logits(model).size());
  }
}

TEST_CASE("A pruned model is quantized and exported like any other") {
  const TemporaryFolder folder;
  const fs::path windows = write_windows(folder.path()), model = write_models(folder.path()).front();
  const Team team(2);
  PruneRecipe narrow = recipe(windows);
  narrow.mlp_width = 0.75;
  pruned(model, folder.path() / "narrow", narrow);
  narrow.alike = true;
  pruned(model, folder.path() / "alike", narrow);
  PruneRecipe blocks = recipe(windows);
  blocks.blocks = 1;
  pruned(model, folder.path() / "blocks", blocks);
  Recipe int8;
  int8.method = MethodName::gptq;
  int8.calibration.source = windows;
  for (const char* name : {"narrow", "alike", "blocks"}) {
    CAPTURE(name);
    const fs::path out = folder.path() / (std::string(name) + "-int8");
    const QuantizationReport report =
        quantize(folder.path() / name, out, int8, team, {.version = "test"}, {});
    CHECK(report.held_out->kl.mean < 0.01);
    CHECK(shapes_of(FolderWeights(out).spec()) == shapes_of(FolderWeights(folder.path() / name).spec()));
    CHECK(relative_difference(logits(folder.path() / name), logits(out)) < 0.1);
  }
  PruneRecipe codes = recipe(windows);
  codes.mlp_width = 0.5;
  CHECK_THROWS_WITH(pruned(folder.path() / "alike-int8", folder.path() / "codes", codes),
                    Catch::Contains("is quantized"));
  CHECK(export_gguf(folder.path() / "alike", folder.path() / "alike.gguf", GgufType::f16, team, "test", {})
            .tensors > 0);
  CHECK(export_gguf(folder.path() / "narrow", folder.path() / "narrow.gguf", GgufType::f16, team, "test", {})
            .tensors > 0);
}

TEST_CASE("A recipe that fits no model, and one that says what it cannot, are refused by name of the field") {
  const TemporaryFolder folder;
  const fs::path windows = write_windows(folder.path()), model = write_models(folder.path()).front();
  const json good = {{"whittle_prune_recipe", 1},
                     {"layers", {{{"intermediate_size", 8}, {"num_key_value_heads", 1}}}}};
  CHECK_NOTHROW(read_prune_recipe(good, "file"));
  const struct {
    const char* field;
    json value;
  } cases[] = {{"whittle_prune_recipe", 2},
               {"layers", nullptr},
               {"layers", json::array()},
               {"layers", {4}},
               {"layers", {{{"intermediate_size", 8}}}},
               {"layers", {{{"intermediate_size", -8}, {"num_key_value_heads", 1}}}},
               {"layers", {{{"intermediate_size", 8}, {"num_key_value_heads", 1}, {"heads", 1}}}},
               {"fitted", 1},
               {"calibration", {{"text", "x"}}},
               {"weights", "int4"}};
  for (const auto& [field, value] : cases) {
    CAPTURE(field, value.dump());
    json bad = good;
    bad[field] = value;
    CHECK_THROWS_WITH(read_prune_recipe(bad, "the file"), Catch::Contains("the file"));
  }
  PruneRecipe other = recipe(windows);
  other.layers = {{8, 1}};
  CHECK_THROWS_AS(pruned(model, folder.path() / "out", other), Error);
  other.layers = {{8, 1}, {8, 1}, {37, 1}};
  CHECK_THROWS_AS(pruned(model, folder.path() / "out", other), Error);
  CHECK(!fs::exists(folder.path() / "out"));
}

TEST_CASE("What a model has not is refused before any text is drawn") {
  const TemporaryFolder folder;
  const fs::path model = write_models(folder.path()).front();
  const auto refused = [&](const PruneRecipe& wrong, const std::string& part) {
    CHECK_THROWS_WITH(pruned(model, folder.path() / "out", wrong), Catch::Contains(part));
    CHECK(!fs::exists(folder.path() / "out"));
  };
  PruneRecipe wrong = recipe(folder.path() / "no such text.json");
  wrong.kv_heads = 2;
  refused(wrong, "drop_kv_heads");
  wrong.kv_heads = 0;
  wrong.blocks = 3;
  refused(wrong, "drop_blocks");
  wrong.blocks = 1;
  wrong.exclude = {"no_such_proj"};
  refused(wrong, "no_such_proj");
}

TEST_CASE("Text of a single window prunes, and fits nothing") {
  const TemporaryFolder folder;
  const fs::path model = write_models(folder.path()).front();
  json window = json::array({json::array()});
  for (int i = 0; i < 40; ++i) window[0].push_back(i);
  write_text(folder.path() / "window.json", window.dump());
  PruneRecipe narrow = recipe(folder.path() / "window.json");
  narrow.mlp_width = 0.5;
  const PruneReport report = pruned(model, folder.path() / "narrow", narrow);
  CHECK(report.fitted.empty());
  CHECK(!report.held_out);
  CHECK(neurons(report.recipe.layers) < neurons(report.before));
  PruneRecipe within = recipe(folder.path() / "window.json");
  within.max_kl = 0.1;
  CHECK_THROWS_WITH(pruned(model, folder.path() / "within", within), Catch::Contains("one window"));
}

TEST_CASE("Nothing goes of what is excluded") {
  const TemporaryFolder folder;
  const fs::path windows = write_windows(folder.path()), model = write_models(folder.path()).front();
  PruneRecipe narrow = recipe(windows);
  narrow.mlp_width = 0.5;
  narrow.exclude = {"layers\\.1\\..*up"};
  const PruneReport report = pruned(model, folder.path() / "narrow", narrow);
  CHECK(report.recipe.layers[1] == report.before[1]);
  const int64_t others =
      report.recipe.layers[0].intermediate_size + report.recipe.layers[2].intermediate_size;
  CHECK(others <= 36);
  CHECK(others >= 32);
  PruneRecipe blocks = recipe(windows);
  blocks.blocks = 1;
  blocks.exclude = {"self_attn", "layers.0.mlp"};
  const PruneReport dropped = pruned(model, folder.path() / "blocks", blocks);
  for (size_t i = 0; i < 3; ++i) CHECK(dropped.recipe.layers[i].num_key_value_heads == 2);
  CHECK(dropped.recipe.layers[0].intermediate_size == 36);
  const json report_json = prune_json(dropped, {});
  CHECK(report_json["layers"].size() == 3);
  CHECK(!prune_text(dropped).empty());
}
