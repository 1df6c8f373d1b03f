// Recipes for budgets.

#include "quant/budget.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>

#include "engine/files/json_file.h"
#include "kernels/error.h"
#include "quant/pipeline.h"
#include "quant/quantization_report.h"
#include "quant/recipe_file.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_model.h"

using namespace whittle;
using namespace whittle::test;
namespace fs = std::filesystem;

namespace {

fs::path write_model(const fs::path& folder, int64_t vocab_size) {
  const fs::path model = folder / "model";
  fs::create_directory(model);
  write_tiny_model(model, {.hidden_size = 64, .intermediate_size = 96, .vocab_size = vocab_size});
  return model;
}

Recipe short_recipe() {
  Recipe recipe;
  recipe.method = MethodName::gptq;
  recipe.calibration.tokens = 400;
  return recipe;
}

}  // namespace

TEST_CASE("Recipes for several budgets ask for tuning, and are measured on the text of those that do not") {
  const TemporaryFolder folder;
  const fs::path model = write_model(folder.path(), 60);
  Recipe recipe = short_recipe();
  const auto carried_out = [&](int64_t tuning_tokens, int64_t& drawn) {
    recipe.tuning_tokens = tuning_tokens;
    recipe.block_steps = tuning_tokens ? 40 : 0;
    const fs::path out = folder.path() / fmt::format("{}", tuning_tokens);
    const std::vector<FrontierPoint> points =
        write_frontier(model, out, recipe, {5, 6}, Team(1), {.version = "test"},
                       [&](const std::string& stage, int64_t, int64_t total, const std::string&) {
                         if (stage == "calibration text") drawn = std::max(drawn, total);
                       });
    REQUIRE(points.size() == 2);
    for (const FrontierPoint& point : points) {
      CHECK(point.tuning_tokens == tuning_tokens);
      const fs::path file = out / fmt::format("{}.json", point.target_bits);
      const Recipe read = read_recipe(read_json_file(file, 1 << 20), file.string());
      CHECK(read.tuning_tokens == tuning_tokens);
      CHECK(read.block_steps == recipe.block_steps);
    }
    return points;
  };
  int64_t drawn = 0, drawn_for_tuning = 0;
  const std::vector<FrontierPoint> plain = carried_out(0, drawn), later = carried_out(4000, drawn_for_tuning);
  CHECK(drawn > 400);
  CHECK(drawn_for_tuning == drawn);
  for (size_t i = 0; i < plain.size(); ++i) CHECK(later[i].held_out->kl.mean == plain[i].held_out->kl.mean);
  CHECK(frontier_text(plain).find("before tuning") == std::string::npos);
  CHECK(frontier_text(later).find("before tuning") != std::string::npos);
  CHECK(frontier_text(later).find("4000 tokens") != std::string::npos);
}

TEST_CASE("A budget of bytes decides about embedding and head, unless somebody has") {
  const TemporaryFolder folder;
  const fs::path model = write_model(folder.path(), 500);
  const auto source_bytes = static_cast<int64_t>(fs::file_size(model / "model.safetensors"));
  Recipe recipe = short_recipe();
  const auto run = [&](const char* name, const Budget& budget, const std::vector<std::string>& exclude = {}) {
    recipe.exclude = exclude;
    const fs::path out = folder.path() / name;
    const QuantizationReport report =
        quantize(model, out, recipe, Team(2), {.version = "test", .budget = budget}, {});
    const auto written = static_cast<int64_t>(fs::file_size(out / "model.safetensors"));
    CHECK(written == report.written_bytes);
    if (budget.bytes) CHECK(written <= *budget.bytes);
    return report.recipe;
  };
  const Recipe small = run("small", {.bytes = source_bytes * 4 / 10}),
               flagged = run("flagged", {.bytes = source_bytes, .outer = false}),
               excluded = run("excluded", {.bytes = source_bytes}, {"embed"}),
               bits = run("bits", {.bits = 5});
  CHECK((small.embedding == WeightFormat::int8 && small.lm_head == WeightFormat::int8));
  for (const Recipe* kept : {&flagged, &excluded, &bits}) CHECK((!kept->embedding && !kept->lm_head));
  // Too small for an embedding that stays as it is.
  CHECK_THROWS_AS(run("none", {.bytes = source_bytes * 4 / 10, .outer = false}), Error);
}

TEST_CASE(
    "Within a limit of KL the least time can be looked for, and a run that goes on has the same figures") {
  const TemporaryFolder folder;
  const fs::path model = write_model(folder.path(), 60);
  Recipe recipe = short_recipe();
  const auto run = [&](const char* name, const Budget& budget, const Progress& progress = {}) {
    return quantize(model, folder.path() / name, recipe, Team(2),
                    {.version = "test", .resume = true, .budget = budget}, progress);
  };
  const Budget fastest = {.kl = 0.01, .time = true};
  const auto stop_at_layers = [](const std::string& stage, int64_t, int64_t, const std::string&) {
    if (stage == "layers") throw Error("stopped");
  };
  CHECK_THROWS_WITH(run("fast", fastest, stop_at_layers), "stopped");
  bool measured = false;
  const QuantizationReport report =
      run("fast", fastest, [&](const std::string& stage, int64_t, int64_t, const std::string&) {
        measured |= stage == "times";  // a step of its own only where something is still to be measured
      });
  CHECK_FALSE(measured);
  CHECK(report.held_out->kl.mean <= 0.01);
  CHECK(report.predicted_ms.value() > 0);
  CHECK(quantization_text(report).find("ms a token") != std::string::npos);
  CHECK_FALSE(run("small", {.kl = 0.01}).predicted_ms.has_value());
  CHECK_THROWS_AS(run("none", {.bits = 5, .time = true}), Error);
}
