// Whole models with weights that are zero, from the recipe to the file.

#include <algorithm>
#include <catch2/catch.hpp>

#include "engine/session.h"
#include "kernels/error.h"
#include "quant/pipeline.h"
#include "quant/recipe_file.h"
#include "tests/support/model_variants.h"
#include "tests/support/paths.h"

using namespace whittle;
using namespace whittle::test;
namespace fs = std::filesystem;

namespace {

Recipe pruned_recipe(const fs::path& folder, std::optional<WeightFormat> weights, const Sparsity& sparsity) {
  SplitMix64 random(11);
  nlohmann::json windows;
  for (int w = 0; w < 12; ++w) {
    nlohmann::json& window = windows.emplace_back();
    for (int i = 0; i < 30 + w; ++i) window.push_back(random.bits() % 60);
  }
  write_text(folder / "windows.json", windows.dump());
  Recipe recipe;
  recipe.method = MethodName::gptq;
  recipe.weights = weights;
  recipe.group_size = weights && bit_packed(*weights) ? 32 : 0;
  recipe.sparsity = sparsity;
  recipe.calibration = {.source = (folder / "windows.json").string(), .tokens = 400};
  return recipe;
}

// The values of every linear of the layers, as a run of the model reads them.
std::map<std::string, std::vector<float>> linears_of(const fs::path& model) {
  const FolderWeights source(model);
  std::map<std::string, std::vector<float>> found;
  for (const Module& module : source.inventory().modules()) {
    if (module.kind() != ModuleKind::linear || module.layer < 0) continue;
    const WeightMatrix matrix = source.matrix(module);
    std::vector<float>& values = found[module.name];
    values.resize(static_cast<size_t>(matrix.rows * matrix.cols));
    for (int64_t row = 0; row < matrix.rows; ++row) matrix.decode_row(row, values.data() + row * matrix.cols);
  }
  return found;
}

// The most that are not zero among `of` inputs that lie side by side; rows are multiples of it.
int64_t fullest_group(const std::vector<float>& values, int64_t of) {
  int64_t most = 0;
  for (auto group = values.begin(); group < values.end(); group += of)
    most = std::max(most, of - std::count(group, group + of, 0.0f));
  return most;
}

void quantize_to(const fs::path& model, const fs::path& out, const Recipe& recipe, int threads = 2) {
  quantize(model, out, recipe, Team(threads), {"test"}, {});
}

}  // namespace

TEST_CASE("Models of every family are pruned to the pattern, as floats and as codes, whatever the threads") {
  const TemporaryFolder folder;
  for (const fs::path& model : write_grouped_models(folder.path()))
    for (const auto& weights : {std::optional<WeightFormat>(), std::optional(WeightFormat::int8),
                                std::optional(WeightFormat::int4)}) {
      CAPTURE(model.filename(), weights ? info(*weights).name : "floats");
      const Recipe recipe = pruned_recipe(folder.path(), weights, {.keep = 2, .of = 4});
      const TemporaryFolder out;
      quantize_to(model, out.path() / "two", recipe);
      if (weights == WeightFormat::int4) {
        quantize_to(model, out.path() / "one", recipe, 1);
        CHECK(read_text(out.path() / "two/model.safetensors") ==
              read_text(out.path() / "one/model.safetensors"));
      }
      for (const auto& [name, values] : linears_of(out.path() / "two")) {
        CAPTURE(name);
        CHECK(fullest_group(values, 4) == 2);
        if (!weights) CHECK(std::ranges::count(values, 0.0f) * 2 == std::ssize(values));
      }
      const Team team(2);
      const Model written(out.path() / "two", team);
      Session session(written, team, {4, KvFormat::f16});
      const std::vector<int32_t> ids = {1, 2, 3};
      for (const float logit : session.forward(ids).row(0).first(60)) REQUIRE(std::isfinite(logit));
    }
}

TEST_CASE("A pruned float model keeps its config and the types and shapes of its tensors") {
  const TemporaryFolder folder;
  for (const fs::path& model : write_grouped_models(folder.path())) {
    CAPTURE(model.filename());
    const fs::path out = model.string() + "-pruned";
    quantize_to(model, out, pruned_recipe(folder.path(), std::nullopt, {.zeros = 0.5}));
    CHECK(read_text(out / "config.json").find("quantization_config") == std::string::npos);
    const ModelFile before(model), after(out);
    for (const TensorView& tensor : after.tensors()) {
      CHECK(before.get(tensor.name).dtype == tensor.dtype);
      CHECK(before.get(tensor.name).shape == tensor.shape);
    }
    const Recipe again = read_recipe(nlohmann::json::parse(read_text(out / "recipe.json")), "recipe.json");
    quantize_to(model, model.string() + "-again", again);
    CHECK(read_text(out / "model.safetensors") == read_text(model.string() + "-again/model.safetensors"));
  }
}

TEST_CASE("Excluded modules keep their weights, and modules may have a sparsity of their own") {
  const TemporaryFolder folder;
  const fs::path model = write_grouped_models(folder.path()).front(), out = folder.path() / "out";
  Recipe recipe = pruned_recipe(folder.path(), std::nullopt, {.zeros = 0.5});
  recipe.exclude = {"down_proj"};
  const std::string own = "model.layers.0.self_attn.q_proj";
  recipe.modules[own] = ModuleFormat{.weights = std::nullopt, .sparsity = {.zeros = 0.75}};
  quantize_to(model, out, recipe);
  const auto before = linears_of(model), after = linears_of(out);
  for (const auto& [name, values] : after) {
    CAPTURE(name);
    const double zeros = part_of_zeros(values);
    if (name.ends_with("down_proj"))
      CHECK(values == before.at(name));
    else
      CHECK(zeros == (name == own ? 0.75 : 0.5));
  }
}

TEST_CASE("Rounding alone prunes the smallest weights") {
  const TemporaryFolder folder;
  const fs::path model = write_grouped_models(folder.path()).front(), out = folder.path() / "out";
  Recipe recipe = pruned_recipe(folder.path(), WeightFormat::int8, {.keep = 4, .of = 8});
  recipe.method = MethodName::rtn;
  CHECK_THROWS_AS(quantize_to(model, out, recipe), Error);  // alps looks at inputs
  recipe.pruning = PruningMethod::magnitude;
  quantize_to(model, out, recipe);
  for (const auto& [name, values] : linears_of(out)) CHECK(fullest_group(values, 8) == 4);
}

TEST_CASE("Nothing but linears of the layers is pruned, and no method scales channels of floats") {
  const TemporaryFolder folder;
  const fs::path model = write_grouped_models(folder.path()).front(), out = folder.path() / "out";
  for (const char* outer : {"lm_head", "model.embed_tokens"})
    for (const auto& weights : {std::optional<WeightFormat>(), std::optional(WeightFormat::int8)}) {
      Recipe recipe = pruned_recipe(folder.path(), std::nullopt, {.zeros = 0.5});
      recipe.modules[outer] = ModuleFormat{.weights = weights, .sparsity = {.zeros = 0.5}};
      CHECK_THROWS_AS(quantize_to(model, out, recipe), Error);
    }
  Recipe recipe = pruned_recipe(folder.path(), std::nullopt, {.zeros = 0.5});
  recipe.method = MethodName::awq;
  CHECK_THROWS_AS(quantize_to(model, out, recipe), Error);
  recipe.modules["model.layers.0.mlp.up_proj"] = ModuleFormat{.weights = WeightFormat::int8};
  quantize_to(model, out, recipe);
}

TEST_CASE("Everything may go") {
  const TemporaryFolder folder;
  const fs::path model = write_grouped_models(folder.path()).front();
  for (const SparsityAllocation allocation : {SparsityAllocation::uniform, SparsityAllocation::kl}) {
    Recipe recipe = pruned_recipe(folder.path(), WeightFormat::int8, {.zeros = 1});
    recipe.allocation = allocation;
    const fs::path out = folder.path() / name(allocation);
    quantize_to(model, out, recipe);
    for (const auto& [name, values] : linears_of(out)) CHECK(part_of_zeros(values) == 1);
  }
}

TEST_CASE("A pruned run that was interrupted is gone on with, and ends with the same bytes") {
  const TemporaryFolder folder;
  const fs::path model = write_grouped_models(folder.path()).front(), whole = folder.path() / "whole",
                 resumed = folder.path() / "resumed";
  Recipe recipe = pruned_recipe(folder.path(), std::nullopt, {.zeros = 0.5});
  recipe.allocation = SparsityAllocation::kl;
  quantize_to(model, whole, recipe);
  RunOptions options{"test"};
  options.resume = true;
  const Team team(2);
  // Stopped as the second layer begins, and as the model is written.
  for (const auto& [stage, what] :
       std::vector<std::pair<std::string, std::string>>{{"layers", "layer 1"}, {"writing", ""}})
    CHECK_THROWS_AS(quantize(model, resumed, recipe, team, options,
                             [&](const std::string& name, int64_t, int64_t, const std::string& now) {
                               if (name == stage && (what.empty() || now == what)) fail("stopped");
                             }),
                    Error);
  quantize(model, resumed, recipe, team, options, {});
  CHECK(read_text(whole / "model.safetensors") == read_text(resumed / "model.safetensors"));
}

TEST_CASE("Tuning moves what stays, and nothing that is pruned") {
  const TemporaryFolder folder;
  const fs::path model = write_grouped_models(folder.path()).front();
  for (const auto& weights : {std::optional<WeightFormat>(), std::optional(WeightFormat::int4)}) {
    const TemporaryFolder out;
    Recipe recipe = pruned_recipe(folder.path(), weights, {.keep = 2, .of = 4});
    quantize_to(model, out.path() / "plain", recipe);
    recipe.block_steps = 30;
    quantize_to(model, out.path() / "layers", recipe);
    recipe.tuning_tokens = 2000;
    quantize_to(model, out.path() / "all", recipe);
    for (const char* tuned : {"layers", "all"}) {
      CAPTURE(weights ? info(*weights).name : "floats", tuned);
      CHECK(linears_of(out.path() / "plain") != linears_of(out.path() / tuned));
      for (const auto& [name, values] : linears_of(out.path() / tuned)) CHECK(fullest_group(values, 4) <= 2);
    }
    CHECK(linears_of(out.path() / "layers") != linears_of(out.path() / "all"));
  }
}

TEST_CASE("A recipe's sparsity is a part or a pattern, and survives its file") {
  for (const Sparsity& sparsity : {Sparsity{.zeros = 0.25}, Sparsity{.keep = 3, .of = 7}, Sparsity{}}) {
    Recipe recipe;
    recipe.method = MethodName::gptq;
    recipe.weights.reset();
    recipe.sparsity = sparsity;
    recipe.pruning = sparsity ? PruningMethod::wanda : PruningMethod::alps;
    recipe.modules["a"] = ModuleFormat{.weights = WeightFormat::int8, .sparsity = sparsity};
    recipe.modules["b"] = std::nullopt;
    CHECK(read_recipe(recipe_json(recipe), "test") == recipe);
  }
  for (const char* wrong : {R"("4:2")", R"("half")", "-0.1", "1.5", "true", "[2, 4]", "{}", "1e999"}) {
    CAPTURE(wrong);
    const std::string text = R"({"whittle_recipe": 1, "sparsity": )" + std::string(wrong) + "}";
    CHECK_THROWS(read_recipe(nlohmann::json::parse(text), "test"));
  }
  CHECK_THROWS_AS(
      read_recipe(nlohmann::json::parse(
                      R"({"whittle_recipe": 1, "method": "gptq", "sparsity": 0.5, "pruning": "no"})"),
                  "test"),
      Error);
}

TEST_CASE("A model stored without zeros is the same model, in a smaller file") {
  const TemporaryFolder folder;
  struct Case {
    std::optional<WeightFormat> weights;
    Sparsity sparsity;
    bool symmetric = true;
  };
  const Case cases[] = {
      {std::nullopt, {.keep = 2, .of = 4}},        {std::nullopt, {.zeros = 0.6}},
      {WeightFormat::int8, {.keep = 2, .of = 4}},  {WeightFormat::int8, {.keep = 4, .of = 8}},
      {WeightFormat::int8, {.zeros = 0.6}, false}, {WeightFormat::int4, {.keep = 2, .of = 4}},
      {WeightFormat::int4, {.zeros = 0.6}, false}};
  for (const fs::path& model : write_grouped_models(folder.path()))
    for (const Case& wanted : cases) {
      CAPTURE(model.filename(), wanted.weights ? info(*wanted.weights).name : "floats",
              wanted.sparsity.text());
      Recipe recipe = pruned_recipe(folder.path(), wanted.weights, wanted.sparsity);
      recipe.method = MethodName::rtn;
      recipe.pruning = PruningMethod::magnitude;
      recipe.symmetric = wanted.symmetric;
      const TemporaryFolder out;
      quantize_to(model, out.path() / "whole", recipe);
      recipe.sparse_storage = true;
      quantize_to(model, out.path() / "sparse", recipe);
      CHECK(linears_of(out.path() / "whole") == linears_of(out.path() / "sparse"));
      CHECK(fs::file_size(out.path() / "sparse/model.safetensors") <
            fs::file_size(out.path() / "whole/model.safetensors"));
      const Recipe again =
          read_recipe(nlohmann::json::parse(read_text(out.path() / "sparse/recipe.json")), "recipe.json");
      quantize_to(model, out.path() / "again", again, 1);
      CHECK(read_text(out.path() / "sparse/model.safetensors") ==
            read_text(out.path() / "again/model.safetensors"));
      const Team team(2);
      const auto logits = [&](const char* name) {
        const Model written(out.path() / name, team);
        Session session(written, team, {4, KvFormat::f16});
        const std::vector<int32_t> ids = {1, 2, 3};
        const auto row = session.forward(ids).row(0).first(60);
        return std::vector<float>(row.begin(), row.end());
      };
      CHECK(logits("whole") == logits("sparse"));
    }
}

TEST_CASE("Without zeros nothing can be left out of a file") {
  const TemporaryFolder folder;
  Recipe recipe = pruned_recipe(folder.path(), WeightFormat::int8, {});
  recipe.sparse_storage = true;
  recipe.method = MethodName::rtn;
  const fs::path model = write_grouped_models(folder.path()).front();
  CHECK_THROWS_WITH(quantize_to(model, folder.path() / "out", recipe),
                    Catch::Matchers::Contains("nothing is pruned"));
}
