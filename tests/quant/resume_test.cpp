// A run that was cut off anywhere, and the one that goes on from it.

#include <sys/stat.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <thread>

#include "engine/files/safetensors.h"
#include "kernels/error.h"
#include "quant/pipeline.h"
#include "quant/recipe_file.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_model.h"
#include "tests/support/tokenizer_files.h"

using namespace whittle;
using namespace whittle::test;
namespace fs = std::filesystem;

namespace {

struct Folders {
  TemporaryFolder folder;
  fs::path model = folder.path() / "model", out = folder.path() / "out", whole = folder.path() / "whole";

  Folders() {
    fs::create_directories(model);
    write_tiny_model(model, {.hidden_size = 64, .intermediate_size = 96, .vocab_size = 60});
  }
  int64_t hidden() const {
    int64_t count = 0;
    for (const auto& entry : fs::directory_iterator(folder.path()))
      count += entry.path().filename().string().starts_with('.');
    return count;
  }
};

Recipe some_recipe() {
  Recipe recipe;
  recipe.method = MethodName::gptq;
  recipe.weights = WeightFormat::int4;
  recipe.group_size = 32;
  recipe.calibration.tokens = 400;
  return recipe;
}

void check_same(const fs::path& a, const fs::path& b) {
  for (const auto& entry : fs::directory_iterator(a)) {
    const std::string name = entry.path().filename().string();
    CAPTURE(name);
    CHECK(read_text(entry.path()) == read_text(b / name));
  }
}

std::string codes_of(const fs::path& folder) {
  const SafetensorsFile file(folder / "model.safetensors");
  std::string codes;
  for (const TensorView& tensor : file.tensors())
    if (tensor.name.ends_with(".weight_packed"))
      codes.append(reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size());
  return codes;
}

// Runs with an exception at the `n`-th step that is reported; whether that came.
bool cut_off_at(const Folders& at, const RunOptions& options, int n, const Recipe& recipe = some_recipe()) {
  int seen = 0;
  try {
    quantize(at.model, at.out, recipe, Team(1), options,
             [&](const std::string&, int64_t, int64_t, const std::string&) {
               if (++seen == n) throw Error("cut off");
             });
  } catch (const Error& error) {
    if (std::string(error.what()) != "cut off") throw;
    return true;
  }
  return false;
}

}  // namespace

TEST_CASE("A run goes on from wherever another was cut off, and writes the same bytes") {
  const Folders at;
  for (const Budget& budget : {Budget{}, Budget{.bits = 6}}) {
    fs::remove_all(at.out);
    fs::remove_all(at.whole);
    const RunOptions options = {.version = "test", .resume = true, .budget = budget};
    quantize(at.model, at.whole, some_recipe(), Team(2), {.version = "test", .budget = budget}, {});
    CHECK(at.hidden() == 0);
    int cuts = 0;
    // Each gets at least a step further than the one before.
    for (int n = 1; cut_off_at(at, options, n); n += 7) {
      ++cuts;
      CHECK_FALSE(fs::exists(at.out));
      CHECK(at.hidden() == 1);
    }
    CHECK(cuts > 5);
    CHECK(at.hidden() == 0);
    check_same(at.whole, at.out);
  }
}

TEST_CASE("Roundings that were tuned together are taken only together") {
  const Folders at;
  const RunOptions options = {.version = "test", .resume = true};
  Recipe recipe = some_recipe();
  recipe.block_steps = 60;
  quantize(at.model, at.whole, recipe, Team(2), options, {});
  const auto cut_off = [](const std::string& stage, int64_t done, int64_t, const std::string&) {
    if (stage == "layers" && done == 1) throw Error("cut off");
  };
  CHECK_THROWS_WITH(quantize(at.model, at.out, recipe, Team(1), options, cut_off), "cut off");
  // As if the run had been killed while the layer was written.
  REQUIRE(fs::remove(WorkFolder::path_for(at.out) / "model.layers.0.mlp.up_proj.safetensors"));
  quantize(at.model, at.out, recipe, Team(2), options, {});
  check_same(at.whole, at.out);
  recipe.block_steps = 0;
  const fs::path untuned = at.folder.path() / "untuned";
  quantize(at.model, untuned, recipe, Team(2), options, {});
  CHECK(codes_of(untuned) != codes_of(at.out));
}

TEST_CASE("Without it, a run that is cut off leaves nothing, and begins afresh") {
  const Folders at;
  CHECK(cut_off_at(at, {.version = "test"}, 10));
  CHECK(at.hidden() == 0);
  // What a killed one left is not looked at, and goes.
  CHECK(cut_off_at(at, {.version = "test", .resume = true}, 10));
  CHECK(at.hidden() == 1);
  quantize(at.model, at.out, some_recipe(), Team(1), {"another version"}, {});
  CHECK(at.hidden() == 0);
}

TEST_CASE("Rounding alone to the same place leaves what a calibrated run can go on with, and says so") {
  const Folders at;
  const RunOptions options = {.version = "test", .resume = true};
  quantize(at.model, at.whole, some_recipe(), Team(1), options, {});
  Recipe rounded = some_recipe();
  rounded.method = MethodName::rtn;
  const auto notes = [&] {
    const std::vector<std::string> said =
        quantize(at.model, at.out, rounded, Team(1), {.version = "test"}, {}).notes;
    fs::remove_all(at.out);
    return std::ranges::count_if(said, [&](const std::string& note) {
      return note.find(WorkFolder::path_for(at.out).string()) != std::string::npos;
    });
  };
  CHECK(notes() == 0);
  REQUIRE(cut_off_at(at, options, 66));
  CHECK(notes() == 1);
  CHECK(at.hidden() == 1);
  int steps = 0;
  quantize(at.model, at.out, some_recipe(), Team(1), options,
           [&](const std::string& stage, int64_t, int64_t, const std::string&) {
             steps += stage == "calibration text";
           });
  CHECK(steps == 0);  // it was there
  CHECK(at.hidden() == 0);
  check_same(at.whole, at.out);
}

TEST_CASE("Only the same run goes on: what is different is named") {
  const Folders at;
  const RunOptions options = {.version = "test", .resume = true};
  REQUIRE(cut_off_at(at, options, 10));
  const auto refused = [&](const Recipe& recipe, RunOptions changed, const std::string& named) {
    changed.resume = true;
    CHECK_THROWS_WITH(quantize(at.model, at.out, recipe, Team(1), changed, {}), Catch::Contains(named));
    CHECK(at.hidden() == 1);
  };
  refused(some_recipe(), {"other"}, "version");
  Recipe recipe = some_recipe();
  recipe.group_size = 64;
  refused(recipe, options, "group_size");
  recipe = some_recipe();
  recipe.calibration.seed = 1;
  refused(recipe, options, "seed");
  refused(some_recipe(), {.version = "test", .budget = {.bits = 5}}, "budget");
  std::ofstream(at.model / "config.json", std::ios::app) << ' ';
  refused(some_recipe(), options, "config.json");
}

TEST_CASE("Text from a file or a pipe is known by what it says") {
  const Folders at;
  write_text(at.model / "tokenizer.json", bpe_tokenizer({"a", "b", "c", "d", "e"}).dump());
  const fs::path file = at.folder.path() / "text.txt", pipe = at.folder.path() / "pipe";
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  std::string text;
  SplitMix64 random(5);
  for (int i = 0; i < 500; ++i) text += static_cast<char>('a' + random.bits() % 5);
  const RunOptions options = {.version = "test", .resume = true};
  const auto cut_off_on = [&](const fs::path& source, const std::string& says) {
    Recipe recipe = some_recipe();
    recipe.calibration.source = source;
    std::thread writer([&] { std::ofstream(source) << says; });
    if (source == file) writer.join();
    if (source == file) fs::last_write_time(file, fs::file_time_type());
    std::string message;
    try {
      if (!cut_off_at(at, options, 4, recipe)) message = "ended";
    } catch (const Error& error) {
      message = error.what();
    }
    if (writer.joinable()) writer.join();
    return message;
  };
  for (const fs::path& source : {file, pipe}) {
    CAPTURE(source);
    CHECK(cut_off_on(source, text) == "");
    CHECK(cut_off_on(source, text) == "");
    const auto changed_at = [&](size_t place) {
      std::string other = text;
      other[place] = other[place] == 'a' ? 'b' : 'a';
      return cut_off_on(source, other);
    };
    // What calibrates, what is held out, and what nobody looks at.
    for (const size_t place : {0, 430})
      CHECK_THAT(changed_at(place), Catch::Contains("another run: \"calibration\" was"));
    CHECK(changed_at(text.size() - 1) == "");
    CHECK(cut_off_on(source, text) == "");
    fs::remove_all(WorkFolder::path_for(at.out));
  }
}

TEST_CASE("What is not a run's work, or damaged, is refused and not removed") {
  const Folders at;
  const RunOptions options = {.version = "test", .resume = true};
  const fs::path work = WorkFolder::path_for(at.out);
  fs::create_directory(work);
  write_text(work / "precious", "mine");
  CHECK_THROWS_WITH(quantize(at.model, at.out, some_recipe(), Team(1), options, {}),
                    Catch::Contains("not the work of a run"));
  CHECK(read_text(work / "precious") == "mine");
  fs::remove_all(work);
  REQUIRE(cut_off_at(at, options, 68));
  int damaged = 0;
  for (const auto& entry : fs::directory_iterator(work)) {
    if (entry.path().extension() != ".safetensors") continue;
    const std::string text = read_text(entry.path());
    write_text(entry.path(), text.substr(0, text.size() / 2));
    CHECK_THROWS_WITH(quantize(at.model, at.out, some_recipe(), Team(1), options, {}),
                      Catch::Contains(entry.path().filename().string()));
    write_text(entry.path(), text);
    ++damaged;
  }
  CHECK(damaged > 3);
}

TEST_CASE("A recipe reads back as it was written, and what it cannot hold is named") {
  Recipe recipe = some_recipe();
  recipe.symmetric = false;
  recipe.rotation = RotationName::values;
  recipe.block_steps = 3;
  recipe.tuning_tokens = 2;
  recipe.lm_head = WeightFormat::int4;
  recipe.embedding = WeightFormat::int8;
  recipe.exclude = {"a", "layers\\.0\\."};
  recipe.calibration = {"text.txt", 77, 5};
  recipe.modules["kept"] = std::nullopt;
  recipe.modules["one"] = ModuleFormat{WeightFormat::int8, 0};
  recipe.modules["two"] = ModuleFormat{WeightFormat::int4, 64};
  recipe.modules["three"] = ModuleFormat{WeightFormat::int5, 32};
  recipe.modules["four"] = ModuleFormat{WeightFormat::int6, 128};
  CHECK(read_recipe(recipe_json(recipe), "r") == recipe);
  CHECK(read_recipe(recipe_json(Recipe()), "r") == Recipe());
  for (const auto& [text, named] : std::initializer_list<std::pair<const char*, const char*>>{
           {"[]", "object"},
           {"{}", "whittle_recipe"},
           {R"({"whittle_recipe": 2})", "whittle_recipe"},
           {R"({"whittle_recipe": 1, "colour": 1})", "colour"},
           {R"({"whittle_recipe": 1, "method": "magic"})", "magic"},
           {R"({"whittle_recipe": 1, "rotation": "left"})", "left"},
           {R"({"whittle_recipe": 1, "tuning_tokens": 2})", "tuning_tokens"},
           {R"({"whittle_recipe": 1, "method": "awq", "block_steps": 2})", "block_steps"},
           {R"({"whittle_recipe": 1, "weights": "f16"})", "f16"},
           {R"({"whittle_recipe": 1, "weights": "int3"})", "int8, int6, int5, int4"},
           {R"({"whittle_recipe": 1, "group_size": 48})", "48"},
           {R"({"whittle_recipe": 1, "exclude": [1]})", "exclude"},
           {R"({"whittle_recipe": 1, "embedding": "int4"})", "embedding"},
           {R"({"whittle_recipe": 1, "calibration": {"tokens": 0}})", "tokens"},
           {R"({"whittle_recipe": 1, "calibration": {"color": 0}})", "color"},
           {R"({"whittle_recipe": 1, "modules": {"m": 3}})", "\"m\""},
           {R"({"whittle_recipe": 1, "modules": {"m": {"weights": "int4", "group_size": -1}}})",
            "group_size"}}) {
    CAPTURE(text);
    CHECK_THROWS_WITH(read_recipe(nlohmann::json::parse(text), "r"), Catch::Contains(named));
  }
}
