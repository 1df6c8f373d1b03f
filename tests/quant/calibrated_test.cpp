// Methods that look at what linears read, from the calibration text to the file.

#include "quant/calibrated.h"

#include <catch2/catch.hpp>

#include "bench/drift.h"
#include "kernels/error.h"
#include "quant/pipeline.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_families.h"

using namespace whittle;
using namespace whittle::test;
namespace fs = std::filesystem;

namespace {

// A model of every kind of block, with room for groups of 32.
std::vector<fs::path> write_models(const fs::path& folder) {
  std::vector<fs::path> models;
  for (const char* architecture : {"LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"}) {
    models.push_back(folder / architecture);
    fs::create_directories(models.back());
    write_tiny_model(models.back(), {.architecture = architecture,
                                     .hidden_size = 64,
                                     .intermediate_size = 96,
                                     .num_attention_heads = 4,
                                     .num_key_value_heads = 2,
                                     .head_dim = 16,
                                     .vocab_size = 60});
  }
  for (const bool gpt2 : {true, false})
    models.push_back(write_family(folder / (gpt2 ? "gpt2" : "bloom"), {.gpt2 = gpt2}));
  return models;
}

Recipe gptq_recipe() {
  Recipe recipe;
  recipe.method = MethodName::gptq;
  recipe.weights = WeightFormat::int4;
  recipe.group_size = 32;
  return recipe;
}

CalibrationText some_text(int64_t vocab_size) {
  SplitMix64 random(11);
  Windows windows;
  for (int w = 0; w < 20; ++w) {
    std::vector<int32_t>& window = windows.ids.emplace_back();
    for (int i = 0; i < 40 + w; ++i)
      window.push_back(static_cast<int32_t>(random.bits() % static_cast<uint64_t>(vocab_size)));
  }
  return first_windows(std::move(windows), "test", vocab_size, 1000, 50);
}

void calibrate(const fs::path& model, const fs::path& out, int threads) {
  quantize(model, out, gptq_recipe(), [] { return some_text(60); }, Team(threads), "test", {});
}

double mean_kl(const fs::path& baseline, const fs::path& model) {
  const Team team(2);
  SplitMix64 random(12);
  Windows windows;
  windows.protocol = "token ids";
  for (int w = 0; w < 8; ++w) {
    std::vector<int32_t>& window = windows.ids.emplace_back();
    for (int i = 0; i < 60; ++i) window.push_back(static_cast<int32_t>(random.bits() % 60));
  }
  return measure_drift(Model(baseline, team), Model(model, team), team, windows, KvFormat::f16, nullptr, {})
      .kl.mean;
}

}  // namespace

TEST_CASE(
    "Calibrated models of every family drift less than rounded ones, and are the same for any threads") {
  const TemporaryFolder folder;
  for (const fs::path& model : write_models(folder.path())) {
    CAPTURE(model.filename());
    const fs::path one = model.string() + "-1", two = model.string() + "-2", plain = model.string() + "-rtn";
    calibrate(model, one, 1);
    calibrate(model, two, 2);
    CHECK(read_text(one / "model.safetensors") == read_text(two / "model.safetensors"));
    CHECK(read_text(one / "config.json") == read_text(two / "config.json"));
    CHECK(read_text(one / "model.safetensors").find("calibration: test: ") != std::string::npos);
    Recipe recipe = gptq_recipe();
    recipe.method = MethodName::rtn;
    quantize(model, plain, recipe, {}, Team(2), "test", {});
    CHECK(mean_kl(model, one) < mean_kl(model, plain));
  }
}

TEST_CASE("What the next layer reads has passed through the quantized ones") {
  const TemporaryFolder folder;
  const fs::path model = write_models(folder.path()).front(), kept = folder.path() / "kept",
                 all = folder.path() / "all";
  Recipe recipe = gptq_recipe();
  const auto run = [&](const fs::path& out) {
    quantize(model, out, recipe, [] { return some_text(60); }, Team(2), "test", {});
  };
  run(all);
  recipe.exclude = {"layers\\.0\\."};  // the second layer then reads what it always read
  run(kept);
  const auto codes = [](const fs::path& out) {
    const ModelFile file(out);
    const WeightMatrix matrix = file.weight("model.layers.1.mlp.up_proj", 96, 64);
    return std::vector<std::byte>(matrix.codes.begin(), matrix.codes.end());
  };
  CHECK(codes(all) != codes(kept));
}

TEST_CASE(
    "A model's own text is the same for a seed, begins with BOS, and has the length that was asked for") {
  const TemporaryFolder folder;
  const fs::path model = write_models(folder.path()).front();
  const Team one(1), two(2);
  const CalibrationText text = self_calibration(model, one, 1000, 48, 5, {});
  CHECK(text.windows == self_calibration(model, two, 1000, 48, 5, {}).windows);
  CHECK(text.windows != self_calibration(model, two, 1000, 48, 6, {}).windows);
  CHECK(text.windows.size() == 21);
  CHECK(text.longest() == 48);
  int ends = 0;
  for (const std::vector<int32_t>& window : text.windows) {
    CHECK(window.size() == 48);
    CHECK(window.front() == 0);
    for (size_t i = 0; i + 1 < window.size(); ++i)
      if (window[i] == 1 && ++ends) CHECK(window[i + 1] == 0);
  }
  CHECK(ends > 0);
  CHECK(self_calibration(model, one, 1, 1000, 5, {}).longest() == 64);  // what the model's context holds
}

TEST_CASE("Where an end is a beginning as well, the text goes on behind it") {
  const TemporaryFolder folder;
  const fs::path model = write_models(folder.path()).front();
  nlohmann::json config = nlohmann::json::parse(read_text(model / "config.json"));
  config["eos_token_id"] = config["bos_token_id"];
  write_text(model / "config.json", config.dump());
  int repeated = 0, ends = 0;
  for (const std::vector<int32_t>& window : self_calibration(model, Team(2), 4000, 48, 5, {}).windows)
    for (size_t i = 1; i + 1 < window.size(); ++i)
      if (window[i] == 0) {
        ++ends;
        repeated += window[i + 1] == 0;
      }
  CHECK(ends > 0);
  CHECK(repeated < ends / 2);
}

TEST_CASE("A NaN or an infinity in a weight is named before any text is drawn or layer run") {
  const TemporaryFolder folder;
  const TinyModel tiny = {.hidden_size = 32, .intermediate_size = 64};
  write_tiny_model(folder.path(), tiny);
  std::vector<RawTensor> tensors = tensors_of(tiny);
  for (const float wrong : {NAN, INFINITY})
    for (const char* name : {"model.layers.1.self_attn.o_proj.weight", "model.embed_tokens.weight"}) {
      std::vector<RawTensor> changed = tensors;
      for (RawTensor& tensor : changed)
        if (tensor.name == name) std::memcpy(tensor.bytes.data() + 8, &wrong, sizeof wrong);
      write_safetensors(folder.path() / "model.safetensors", changed);
      bool drawn = false;
      const Calibrate calibrate = [&] {
        drawn = true;
        return some_text(16);
      };
      CHECK_THROWS_WITH(
          quantize(folder.path(), folder.path() / "out", gptq_recipe(), calibrate, Team(2), "test", {}),
          Catch::Contains(name) && Catch::Contains("element 2"));
      CHECK_FALSE(drawn);
      CHECK_FALSE(fs::exists(folder.path() / "out"));
    }
}

TEST_CASE("Modules that are kept cost no calibration, and layers that are kept go through as they are") {
  const TemporaryFolder folder;
  for (const fs::path& model : write_models(folder.path())) {
    CAPTURE(model.filename());
    Recipe recipe = gptq_recipe();
    recipe.exclude = {"\\.0\\.", "\\.1\\..*(down_proj|mlp)"};
    const fs::path out = model.string() + "-out";
    const QuantizationReport report =
        quantize(model, out, recipe, [] { return some_text(60); }, Team(2), "test", {});
    CHECK(report.modules > 0);
    CHECK(mean_kl(model, out) < 0.1);
  }
}

TEST_CASE("Windows to calibrate with are checked and cut") {
  Windows windows;
  windows.ids = {{1, 2, 3, 4}, {5, 6}, {7, 8}};
  const CalibrationText text = first_windows(windows, "file", 9, 5, 3);
  CHECK(text.windows == std::vector<std::vector<int32_t>>{{1, 2, 3}, {5, 6}});
  CHECK(text.tokens() == 5);
  CHECK_THROWS_WITH(first_windows(windows, "file", 8, 5, 3), Catch::Contains("8"));
  CHECK_THROWS_AS(first_windows({}, "file", 8, 5, 3), Error);
}
