#include "quant/model_scales.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "engine/files/float_tensor.h"
#include "kernels/error.h"
#include "quant/pipeline.h"
#include "tests/support/model_variants.h"
#include "tests/support/paths.h"

using namespace whittle;
using namespace whittle::test;
namespace fs = std::filesystem;

namespace {

// As a file in BF16 would have it.
float in_bf16(const Module&, float weight) {
  return decode_floats(float_bytes({&weight, 1}, DType::BF16), DType::BF16).front();
}

CalibrationText some_text(int64_t vocab_size) {
  CalibrationText text;
  SplitMix64 random(21);
  for (int w = 0; w < 8; ++w) {
    std::vector<int32_t>& window = text.windows.emplace_back();
    for (int i = 0; i < 20 + w; ++i)
      window.push_back(static_cast<int32_t>(random.bits() % static_cast<uint64_t>(vocab_size)));
  }
  text.from = "test";
  return text;
}

void nothing(int64_t, int64_t, const std::string&) {}

}  // namespace

TEST_CASE("Scales found for a model leave its function, norms as they will be stored, and are kept") {
  const TemporaryFolder folder;
  const Team team(2), one(1);
  for (const fs::path& model : write_model_variants(folder.path()))
    for (const ScaleRule rule : {ScaleRule::awq, ScaleRule::smoothquant}) {
      CAPTURE(model.filename(), static_cast<int>(rule));
      const auto source = std::make_shared<const FolderWeights>(model);
      Recipe recipe;
      recipe.weights = WeightFormat::int4;
      recipe.group_size = 32;
      const QuantizationPlan plan = plan_quantization(recipe, *source);
      const CalibrationText text = some_text(source->spec().vocab_size);
      WorkFolder work(model.string() + "-work", {}, false);
      const auto scaled = std::make_shared<ScaledWeights>(*source, team),
                 again = std::make_shared<ScaledWeights>(*source, one);
      find_scales(rule, *source, plan, text, 1 << 30, in_bf16, work, team, nothing, *scaled);
      find_scales(rule, *source, plan, {}, 1 << 30, in_bf16, work, team, nothing, *again);
      const std::vector<float> before = logits_of(source, team), after = logits_of(scaled, team);
      CHECK(after == logits_of(again, team));
      bool different = false;
      for (size_t i = 0; i < before.size(); ++i) CHECK(after[i] == Approx(before[i]).margin(1e-3));
      for (const Module& module : source->inventory().modules()) {
        different |= scaled->changed(module);
        if (module.matrix() || !scaled->changed(module)) continue;
        // The norm's weight over its scale, which is the quotient of two floats.
        for (const float weight : scaled->weight_vector(module))
          CHECK(std::abs(in_bf16(module, weight) - weight) <= 0x1p-22f * std::abs(weight));
      }
      CHECK(different);
    }
}

TEST_CASE("A budget is refused to methods that measure nothing to spend it by") {
  const TemporaryFolder folder;
  const fs::path model = write_model_variants(folder.path()).front();
  Recipe recipe;
  recipe.method = MethodName::awq;
  CHECK_THROWS_WITH(
      quantize(model, folder.path() / "out", recipe, Team(1), {.version = "test", .budget = {.bits = 5}}, {}),
      Catch::Contains("the method is awq"));
  CHECK_THROWS_WITH(write_frontier(model, folder.path() / "out", recipe, {5, 6}, Team(1), {"test"}, {}),
                    Catch::Contains("the method is awq"));
  CHECK(!fs::exists(folder.path() / "out"));
}
