// A search for parts to leave out that was cut off anywhere, and the run that goes on from it.

#include <catch2/catch.hpp>
#include <cmath>
#include <nlohmann/json.hpp>

#include "kernels/error.h"
#include "quant/structure/measurements.h"
#include "quant/structure/prune.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_model.h"
#include "tests/support/window_files.h"

using namespace whittle;
using namespace whittle::test;
namespace fs = std::filesystem;
using nlohmann::json;

namespace {

struct Pruning {
  TemporaryFolder folder;
  fs::path model = folder.path() / "model", out = folder.path() / "out";
  PruneRecipe recipe;

  Pruning() {
    fs::create_directories(model);
    write_tiny_model(model, {.hidden_size = 32,
                             .intermediate_size = 48,
                             .num_hidden_layers = 3,
                             .num_attention_heads = 4,
                             .num_key_value_heads = 2,
                             .head_dim = 8,
                             .vocab_size = 40});
    recipe.calibration.source = write_windows(folder.path());
  }

  PruneReport run(const fs::path& to, bool resume, const Progress& progress = {}) const {
    return prune(model, to, recipe, Team(1), {.version = "test", .resume = resume}, progress);
  }
  // Ends at the `n`-th step that is reported; whether that came.
  bool cut_off_at(int n, bool resume = true) const {
    int seen = 0;
    try {
      run(out, resume, [&](const std::string&, int64_t, int64_t, const std::string&) {
        if (++seen == n) throw Error("cut off");
      });
    } catch (const Error& error) {
      if (std::string(error.what()) != "cut off") throw;
      return true;
    }
    return false;
  }
  fs::path measured() const { return WorkFolder::path_for(out) / "measured.safetensors"; }
};

// One of each search: blocks, parts, and as far as a limit allows.
std::vector<PruneRecipe> searches(const PruneRecipe& base) {
  std::vector<PruneRecipe> recipes(3, base);
  recipes[0].blocks = 1;
  recipes[1].mlp_width = 0.5;
  recipes[2].max_kl = 0.02;
  return recipes;
}

}  // namespace

TEST_CASE("A search goes on from wherever another was cut off, and writes the same bytes") {
  Pruning at;
  for (const PruneRecipe& recipe : searches(at.recipe)) {
    at.recipe = recipe;
    CAPTURE(recipe.text());
    const fs::path whole = at.folder.path() / "whole";
    const PruneReport undisturbed = at.run(whole, false);
    int cuts = 0;
    for (int n = 1; at.cut_off_at(n); n += 5) {
      ++cuts;
      CHECK_FALSE(fs::exists(at.out));
      CHECK(fs::exists(WorkFolder::path_for(at.out)));
    }
    CHECK(cuts > 3);
    CHECK_FALSE(fs::exists(WorkFolder::path_for(at.out)));
    for (const char* file : {"model.safetensors", "config.json", "recipe.json"})
      CHECK(read_text(at.out / file) == read_text(whole / file));
    fs::remove_all(at.out);
    fs::remove_all(whole);
  }
}

TEST_CASE("What was measured is taken as it is, and refused where it is not what a run writes") {
  Pruning at;
  at.recipe.blocks = 1;
  const auto at_writing = [](const std::string& stage, int64_t, int64_t, const std::string&) {
    if (stage == "writing") throw Error("cut off");
  };
  CHECK_THROWS_WITH(at.run(at.out, true, at_writing), "cut off");
  REQUIRE(fs::exists(at.measured()));
  const json facts = WorkFolder::facts(SafetensorsFile(at.measured()));
  CHECK(facts.size() > 6);
  const auto plant = [&](const json& planted) {
    fs::remove(at.measured());
    WorkFolder beside(at.folder.path() / "beside", {}, false);
    beside.save("measured", {}, planted);
    fs::copy_file(beside.path() / "measured.safetensors", at.measured());
  };
  for (const json& wrong : {json(), json("x"), json(0.5), json::array({"x"}), json::array({nullptr}),
                            json::array({0.5, 0.5}), json::array()}) {
    json planted = facts;
    planted["without 0"] = wrong;
    plant(planted);
    CAPTURE(planted["without 0"].dump());
    CHECK_THROWS_WITH(at.run(at.out, true), Catch::Contains("without 0") && Catch::Contains("whittle-work"));
  }
  plant(json::array({1}));
  CHECK_THROWS_WITH(at.run(at.out, true), Catch::Contains("measured.safetensors"));
  // The last layer costs least, it says: so it goes.
  json planted = facts;
  for (json& value : planted) value = {1.0};
  planted["without 4,5"] = {-1.0};
  plant(planted);
  CHECK(at.run(at.out, true).recipe.layers.back() == LayerShape{});
  CHECK_FALSE(fs::exists(WorkFolder::path_for(at.out)));
}

TEST_CASE("Another recipe does not go on from it, and without --resume nothing is left") {
  Pruning at;
  at.recipe.blocks = 1;
  CHECK(at.cut_off_at(8));
  at.recipe.blocks = 2;
  CHECK_THROWS_WITH(at.run(at.out, true), Catch::Contains("another run"));
  CHECK(at.cut_off_at(8, false));
  CHECK_FALSE(fs::exists(WorkFolder::path_for(at.out)));
  // One that is told what stays keeps nothing, and says what is there.
  at.recipe.blocks = 1;
  const PruneRecipe found = at.run(at.folder.path() / "found", false).recipe;
  CHECK(at.cut_off_at(8));
  at.recipe = found;
  const PruneReport told = at.run(at.out, false);
  REQUIRE(told.notes.size() == (told.own_fields ? 2 : 1));
  CHECK(told.notes.back().find("to be gone on with") != std::string::npos);
}

TEST_CASE("Figures without a work folder are known for the run, and those that are no numbers never") {
  Measurements known(nullptr);
  int measured = 0;
  for (int i = 0; i < 2; ++i) CHECK(known.value("a", [&] { return double(++measured); }) == 1);
  CHECK(measured == 1);
  for (int i = 0; i < 2; ++i) CHECK(std::isnan(known.value("b", [&] { return ++measured, std::nan(""); })));
  CHECK(measured == 3);
  CHECK_THROWS_WITH(known.values("a", 2, [] { return Measurements::Values{}; }),
                    Catch::Contains("expected 2"));
}
