// Recipes for budgets.

#include "quant/budget.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>

#include "engine/files/json_file.h"
#include "quant/pipeline.h"
#include "quant/quantization_report.h"
#include "quant/recipe_file.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_model.h"

using namespace whittle;
using namespace whittle::test;
namespace fs = std::filesystem;

TEST_CASE("Recipes for several budgets ask for tuning, and are measured on the text of those that do not") {
  const TemporaryFolder folder;
  const fs::path model = folder.path() / "model";
  fs::create_directory(model);
  write_tiny_model(model, {.hidden_size = 64, .intermediate_size = 96, .vocab_size = 60});
  Recipe recipe;
  recipe.method = MethodName::gptq;
  recipe.calibration.tokens = 400;
  const auto carried_out = [&](int64_t tuning_tokens, int64_t& drawn) {
    recipe.tuning_tokens = tuning_tokens;
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
      CHECK(read_recipe(read_json_file(file, 1 << 20), file.string()).tuning_tokens == tuning_tokens);
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
