#include "quant/pruning/allocation.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <ranges>

#include "quant/float_matrix.h"
#include "quant/pipeline.h"
#include "quant/replaced_weights.h"
#include "tests/support/model_variants.h"
#include "tests/support/paths.h"

using namespace whittle;
using namespace whittle::test;
namespace fs = std::filesystem;

namespace {

constexpr double half = 0.5;

struct Setting {
  TemporaryFolder folder;
  std::optional<FolderWeights> model;
  std::optional<ReplacedWeights> changed;
  Recipe recipe;
  QuantizationPlan plan;
  CalibrationText text;

  Setting() {
    const fs::path path = write_grouped_models(folder.path()).front();
    model.emplace(path);
    changed.emplace(*model);
    recipe.method = MethodName::gptq;
    recipe.weights.reset();
    recipe.sparsity = {.zeros = half};
    plan = plan_quantization(recipe, *model);
    SplitMix64 random(1);
    for (int w = 0; w < 10; ++w) {
      std::vector<int32_t>& window = text.windows.emplace_back();
      for (int i = 0; i < 20; ++i) window.push_back(static_cast<int32_t>(random.bits() % 60));
    }
  }

  std::map<std::string, double> share(SparsityAllocation allocation, int threads = 2) const {
    const Team team(threads);
    const AllocationTask task{
        .source = *changed, .plan = plan, .text = text, .zeros = half, .spill = folder.path()};
    return allocate_sparsity(allocation, task, team, [](int64_t, int64_t, const std::string&) {});
  }

  // Every weight of a linear times what `factor` says.
  void scale(const std::string& name, const std::function<float(size_t)>& factor) {
    const Module& module = *model->inventory().find(name);
    FloatMatrix matrix(module.rows, module.cols);
    const std::vector<float> values = float_values(*model, module, Team(1));
    for (size_t i = 0; i < values.size(); ++i) matrix.row(0)[i] = values[i] * factor(i);
    changed->replace(name, {matrix.take(name), 0});
  }
};

}  // namespace

TEST_CASE("What linears share is the part that was asked for, the same for any number of threads") {
  const Setting setting;
  for (const SparsityAllocation allocation : {SparsityAllocation::owl, SparsityAllocation::kl}) {
    CAPTURE(name(allocation));
    const std::map<std::string, double> zeros = setting.share(allocation);
    CHECK(zeros == setting.share(allocation, 1));
    CHECK(zeros.size() == setting.plan.modules.size());
    double sum = 0, all = 0, largest = 0;
    for (const auto& [name, part] : zeros) {
      const Module& module = *setting.model->inventory().find(name);
      const auto weights = static_cast<double>(module.rows * module.cols);
      sum += part * weights;
      all += weights;
      largest = std::max(largest, 0.025 * weights);  // a step of what `kl` chooses among
    }
    CHECK(sum >= half * all - 1);
    CHECK(sum <= half * all + largest + 1);
  }
}

TEST_CASE("A layer with outliers loses less by owl") {
  Setting setting;
  setting.scale("model.layers.1.mlp.up_proj", [](size_t i) { return i % 200 == 0 ? 50.0f : 1.0f; });
  for (const auto& [name, part] : setting.share(SparsityAllocation::owl)) {
    CAPTURE(name);
    CHECK((name.find("layers.1.") == std::string::npos ? part > half : part < half));
  }
}

TEST_CASE("A linear that says nothing loses most by kl") {
  Setting setting;
  const std::string silent = "model.layers.0.mlp.down_proj";
  setting.scale(silent, [](size_t) { return 0.0f; });
  const std::map<std::string, double> zeros = setting.share(SparsityAllocation::kl);
  CHECK(zeros.at(silent) == std::ranges::max(zeros | std::views::values));
  CHECK(zeros.at(silent) > 0.7);
}

TEST_CASE("What is zero already is no reason to lose more by kl") {
  Setting setting;
  for (const PlannedModule& module : setting.plan.modules)
    setting.scale(module.name, [](size_t i) { return i % 2 ? 0.0f : 1.0f; });
  for (const auto& [name, part] : setting.share(SparsityAllocation::kl)) {
    CAPTURE(name);
    CHECK(part == Approx(half));
  }
}

TEST_CASE("Layers that differ much stay near the part that was asked for by owl") {
  Setting setting;
  setting.scale("model.layers.1.mlp.up_proj", [](size_t i) { return i % 50 == 0 ? 90.0f : 1.0f; });
  for (const auto& [name, part] : setting.share(SparsityAllocation::owl))
    CHECK(std::abs(part - half) <= 0.08 + 1e-9);
}

TEST_CASE("Where nothing is to be shared nothing is") {
  Setting setting;
  setting.plan.modules.clear();
  CHECK(setting.share(SparsityAllocation::owl).empty());
  CHECK(setting.share(SparsityAllocation::kl).empty());
}

TEST_CASE("The recipe that is written says what each linear loses, and does the same again") {
  const Setting setting;
  nlohmann::json windows = setting.text.windows;
  write_text(setting.folder.path() / "windows.json", windows.dump());
  Recipe recipe = setting.recipe;
  recipe.allocation = SparsityAllocation::kl;
  recipe.calibration = {.source = (setting.folder.path() / "windows.json").string(), .tokens = 150};
  const Team team(2);
  const fs::path out = setting.folder.path() / "out", again = setting.folder.path() / "again";
  const QuantizationReport report = quantize(setting.model->file().folder(), out, recipe, team, {"test"}, {});
  CHECK(report.recipe.allocation == SparsityAllocation::uniform);
  CHECK(report.recipe.modules.size() == setting.plan.modules.size());
  CHECK(std::abs(report.weights.zeros - half) < 0.03);
  quantize(setting.model->file().folder(), again, report.recipe, team, {"test"}, {});
  CHECK(read_text(out / "model.safetensors") == read_text(again / "model.safetensors"));
}
