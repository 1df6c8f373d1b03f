#include "quant/frontier/frontier.h"

#include <catch2/catch.hpp>
#include <set>

#include "kernels/error.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_model.h"

using namespace whittle;
using namespace whittle::test;
namespace fs = std::filesystem;

namespace {

struct TwoRecipes {
  TemporaryFolder folder;
  fs::path source = folder.path() / "source", recipes = folder.path() / "recipes";
  TwoRecipes() {
    fs::create_directory(source);
    fs::create_directory(recipes);
    write_tiny_model(source, {.hidden_size = 32, .intermediate_size = 64, .head_dim = 16, .vocab_size = 40});
    write_text(recipes / "a.json", R"({"whittle_recipe": 1, "method": "rtn"})");
    write_text(recipes / "b.json", R"({"whittle_recipe": 1, "method": "gptq", "weights": "int4",
                                       "group_size": 32})");
  }
  // Peak memory is said by a program that stands for this one.
  FrontierOptions options() const {
    return {.version = "test",
            .build = "test",
            .work = folder.path() / "work",
            .speed = {.prompt_tokens = 16, .gen_tokens = 4, .repeat = 6},
            .memory_child = [](const fs::path&) -> std::vector<std::string> {
              return {"echo", R"({"peak_rss_bytes": 12345678})"};
            }};
  }
  FrontierReport run(const FrontierOptions& options) const {
    return measure_frontier(source, read_recipes(recipes), Team(1), options, {});
  }
};

std::set<std::string> names(const fs::path& folder) {
  std::set<std::string> found;
  for (const auto& entry : fs::directory_iterator(folder)) found.insert(entry.path().filename().string());
  return found;
}

}  // namespace

TEST_CASE("Recipes of a folder are made and measured beside the original, and no model is left") {
  const TwoRecipes model;
  const FrontierReport report = model.run(model.options());
  REQUIRE(report.results.size() == 3);
  CHECK(report.results[0].kind == RecipeKind::original);
  CHECK(report.results[0].kl.mean < 1e-3);
  for (const RecipeResult& result : report.results) {
    INFO(result.name << " " << result.reason);
    CHECK(result.measured());
    CHECK(result.peak_rss_bytes == 12345678);
    CHECK(result.decode_speedup.mean > 0);
    CHECK(result.decode_speedup.low <= result.decode_speedup.mean);
    CHECK(result.perplexity > 1);
  }
  CHECK(report.results[1].name == "a");
  CHECK(report.results[1].disk_bytes < report.results[0].disk_bytes);
  CHECK(report.results[2].bits_per_weight < report.results[1].bits_per_weight);
  CHECK(report.results[2].kl.mean > report.results[1].kl.mean);
  CHECK_FALSE(fs::exists(model.options().work / "models"));
}

TEST_CASE("A run goes on from the results of another, and only where nothing else has changed") {
  const TwoRecipes model;
  FrontierOptions options = model.options();
  const FrontierReport first = model.run(options);
  CHECK_THROWS_WITH(model.run(options), Catch::Contains("earlier run"));
  options.resume = true;
  write_text(model.recipes / "c.json", R"({"whittle_recipe": 1, "method": "rtn", "weights": "int4",
                                           "group_size": 64})");
  const FrontierReport second = model.run(options);
  REQUIRE(second.results.size() == 4);
  for (size_t i = 0; i < 3; ++i) {
    CHECK(second.results[i].decode_tokens_per_s ==
          first.results[i].decode_tokens_per_s);  // not measured again
    CHECK(second.results[i].kl.mean == first.results[i].kl.mean);
  }
  CHECK(second.results[3].measured());
  options.speed.repeat = 7;
  CHECK_THROWS_WITH(model.run(options), Catch::Contains("repeat"));
}

TEST_CASE("Models that are to be kept are, by a run that goes on, too") {
  const TwoRecipes model;
  FrontierOptions options = model.options();
  options.keep_models = true;
  write_text(model.recipes / "c.json", "{");
  model.run(options);
  const std::set<std::string> made = names(options.work / "models");
  CHECK(made.size() == 2);
  fs::create_directory(options.work / "models/.unfinished");
  fs::remove(model.recipes / "c.json");
  options.resume = true;
  model.run(options);
  CHECK(names(options.work / "models") == made);
}

TEST_CASE("A work folder of nobody's is removed when all is done, but for what is not ours") {
  const TwoRecipes model;
  FrontierOptions options = model.options();
  options.keep_work = false;
  model.run(options);
  CHECK_FALSE(fs::exists(options.work));
  write_text(model.recipes / "c.json", "{");
  model.run(options);
  CHECK(fs::exists(options.work));
  fs::remove(model.recipes / "c.json");
  write_text(options.work / "precious.txt", "data");
  options.resume = true;
  model.run(options);
  CHECK(names(options.work) == std::set<std::string>{"precious.txt"});
}

TEST_CASE("A recipe's text that has changed since is another recipe") {
  const TwoRecipes model;
  const fs::path text = model.folder.path() / "windows.json";
  write_text(text, "[[1, 2, 3]]");
  FrontierRecipe recipe;
  recipe.name = "own text";
  recipe.weights.emplace();
  recipe.weights->calibration.source = text;
  const std::string before = recipe.key();
  CHECK(recipe.key() == before);
  write_text(text, "[[1, 2, 3], [4, 5]]");
  CHECK(recipe.key() != before);
}

TEST_CASE("A recipe that fails is named, and the others go on") {
  const TwoRecipes model;
  write_text(model.recipes / "0-not-json.json", "{");
  write_text(model.recipes / "1-field.json", R"({"whittle_recipe": 1, "wieghts": "int8"})");
  write_text(model.recipes / "2-module.json",
             R"({"whittle_recipe": 1, "method": "rtn", "modules": {"absent": null}})");
  write_text(model.recipes / "ignored.txt", "{");
  const FrontierReport report = model.run(model.options());
  REQUIRE(report.results.size() == 6);
  CHECK(report.any(RecipeResult::Status::failed));
  CHECK(report.results[1].reason.find("0-not-json.json") != std::string::npos);
  CHECK(report.results[2].reason.find("wieghts") != std::string::npos);
  CHECK(report.results[3].reason.find("absent") != std::string::npos);
  CHECK(report.results[4].measured());
  CHECK(report.results[5].measured());
  // What failed is tried again.
  for (const std::string& name : names(model.options().work)) CHECK(name.find("module") == name.npos);
}

TEST_CASE("What does not fit into the time is skipped, and said") {
  const TwoRecipes model;
  FrontierOptions options = model.options();
  options.minutes = 1e-6;
  const FrontierReport report = model.run(options);
  CHECK(report.results[0].measured());
  for (size_t i = 1; i < 3; ++i) {
    CHECK(report.results[i].status == RecipeResult::Status::skipped);
    CHECK(report.results[i].reason.find("did not fit") != std::string::npos);
  }
}

TEST_CASE("Folders without recipes and foreign work folders are refused") {
  const TwoRecipes model;
  CHECK_THROWS_WITH(read_recipes(model.source / "absent"), Catch::Contains("absent"));
  fs::create_directory(model.folder.path() / "empty");
  CHECK_THROWS_WITH(read_recipes(model.folder.path() / "empty"), Catch::Contains("no recipe"));
  FrontierOptions options = model.options();
  fs::create_directory(options.work);
  write_text(options.work / "precious.txt", "data");
  CHECK_THROWS_WITH(model.run(options), Catch::Contains("work"));
  CHECK(names(options.work) == std::set<std::string>{"precious.txt"});
}

TEST_CASE("The project's own list has sixteen recipes or more, each with a name and a key of its own") {
  std::set<std::string> keys, recipe_names;
  int64_t pruned = 0;
  for (const FrontierRecipe& recipe : default_recipes()) {
    keys.insert(recipe.key());
    recipe_names.insert(recipe.name);
    pruned += recipe.kind() == RecipeKind::sparse || recipe.kind() == RecipeKind::parts;
    CHECK(recipe.key().find_first_of("/ %") == std::string::npos);
  }
  CHECK(keys.size() >= 16);
  CHECK(keys.size() == default_recipes().size());
  CHECK(recipe_names.size() == keys.size());
  CHECK(pruned >= 6);
  CHECK(default_recipes().front().kind() == RecipeKind::dense);
}
