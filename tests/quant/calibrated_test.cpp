// Methods that look at what linears read, from the calibration text to the file.

#include "quant/calibrated.h"

#include <catch2/catch.hpp>

#include "bench/drift/drift.h"
#include "kernels/error.h"
#include "quant/pipeline.h"
#include "quant/self_text.h"
#include "tests/support/model_variants.h"
#include "tests/support/paths.h"

using namespace whittle;
using namespace whittle::test;
namespace fs = std::filesystem;

namespace {

constexpr int64_t most_memory = int64_t{4} << 30;

// Windows of ids below `vocab_size`, for a recipe to calibrate on.
fs::path write_windows(const fs::path& file, int64_t vocab_size) {
  SplitMix64 random(11);
  nlohmann::json windows;
  for (int w = 0; w < 24; ++w) {
    nlohmann::json& window = windows.emplace_back();
    for (int i = 0; i < 30 + w; ++i) window.push_back(random.bits() % static_cast<uint64_t>(vocab_size));
  }
  write_text(file, windows.dump());
  return file;
}

Recipe gptq_recipe(const fs::path& folder, int64_t vocab_size = 60) {
  Recipe recipe;
  recipe.method = MethodName::gptq;
  recipe.weights = WeightFormat::int4;
  recipe.group_size = 32;
  recipe.calibration = {.source = write_windows(folder / "windows.json", vocab_size), .tokens = 800};
  return recipe;
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
  for (const fs::path& model : write_grouped_models(folder.path())) {
    Recipe recipe = gptq_recipe(folder.path());
    recipe.method = MethodName::rtn;
    const fs::path plain = model.string() + "-rtn";
    quantize(model, plain, recipe, Team(2), {"test"}, {});
    for (const MethodName method : {MethodName::gptq, MethodName::awq}) {
      CAPTURE(model.filename(), name(method));
      const std::string out = model.string() + "-" + std::string(name(method));
      const fs::path one = out + "-1", two = out + "-2";
      recipe.method = method;
      for (const auto& [to, threads] : {std::pair(one, 1), {two, 2}})
        quantize(model, to, recipe, Team(threads), {"test"}, {});
      CHECK(read_text(one / "model.safetensors") == read_text(two / "model.safetensors"));
      CHECK(read_text(one / "config.json") == read_text(two / "config.json"));
      CHECK(read_text(one / "model.safetensors").find("calibration: windows.json: ") != std::string::npos);
      CHECK(mean_kl(model, one) < mean_kl(model, plain));
    }
  }
}

TEST_CASE("What the next layer reads has passed through the quantized ones") {
  const TemporaryFolder folder;
  const fs::path model = write_grouped_models(folder.path()).front(), kept = folder.path() / "kept",
                 all = folder.path() / "all";
  Recipe recipe = gptq_recipe(folder.path());
  const auto run = [&](const fs::path& out) { quantize(model, out, recipe, Team(2), {"test"}, {}); };
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

namespace {

// What every module becomes, in the model's order.
std::vector<QuantizedMatrix> quantized_with(const fs::path& model, const GptqOptions& options, int threads) {
  const FolderWeights source(model);
  const Recipe recipe = gptq_recipe(model);
  const QuantizationPlan plan = plan_quantization(recipe, source);
  const Team team(threads);
  const CalibrationText text = calibration_text(recipe.calibration, source, most_memory, team, {});
  WorkFolder work(model.string() + "-work", {}, false);
  CalibratedMethod method(source, plan, text, {.gptq = options}, work, team);
  method.prepare([](int64_t, int64_t, const std::string&) {});
  std::vector<QuantizedMatrix> matrices;
  for (const QuantizedModule& module : plan.modules)
    for (const Module& known : source.inventory().modules())
      if (known.name == module.name) matrices.push_back(method.quantize(known, module.scheme));
  REQUIRE(matrices.size() == plan.modules.size());
  return matrices;
}

bool same(const QuantizedMatrix& a, const QuantizedMatrix& b) {
  return std::ranges::equal(a.matrix.codes, b.matrix.codes) && a.matrix.scales == b.matrix.scales;
}

}  // namespace

TEST_CASE("Weights make good what the layers before have changed: nothing in the first layer") {
  const TemporaryFolder folder;
  for (const fs::path& model : write_grouped_models(folder.path())) {
    CAPTURE(model.filename());
    const std::vector<QuantizedMatrix> plain = quantized_with(model, {.repair_inputs = false}, 2),
                                       repaired = quantized_with(model, {.repair_inputs = true}, 2),
                                       alone = quantized_with(model, {.repair_inputs = true}, 1);
    const size_t half = plain.size() / 2;  // two layers
    for (size_t i = 0; i < plain.size(); ++i) {
      CHECK(same(plain[i], repaired[i]) == (i < half));
      CHECK(same(repaired[i], alone[i]));
    }
  }
}

TEST_CASE(
    "A model's own text is the same for a seed, begins with BOS, and has the length that was asked for") {
  const TemporaryFolder folder;
  const fs::path model = write_grouped_models(folder.path()).front();
  const FolderWeights source(model);
  const Team one(1), two(2);
  const auto draw = [&](const Team& team, int64_t tokens, int64_t context, uint64_t seed) {
    return self_text(source, most_memory, team, tokens, context, seed, {}).windows;
  };
  const Windows text = draw(one, 1000, 48, 5);
  CHECK(text.ids == draw(two, 1000, 48, 5).ids);
  CHECK(text.ids != draw(two, 1000, 48, 6).ids);
  CHECK(text.ids.size() == 21);
  CHECK(text.context == 48);
  int ends = 0;
  for (const std::vector<int32_t>& window : text.ids) {
    CHECK(window.size() == 48);
    CHECK(window.front() == 0);
    for (size_t i = 0; i + 1 < window.size(); ++i)
      if (window[i] == 1 && ++ends) CHECK(window[i + 1] == 0);
  }
  CHECK(ends > 0);
  CHECK(draw(one, 1, 1000, 5).context == 64);  // what the model's context holds
}

TEST_CASE("A model that does not fit is rounded for drawing its text, which says so") {
  const TemporaryFolder folder;
  const FolderWeights source(write_grouped_models(folder.path()).front());
  const Team team(2);
  const int64_t spare = int64_t{1} << 30;
  const auto draw = [&](int64_t memory) { return self_text(source, memory, team, 200, 48, 5, {}); };
  const SelfText whole = draw(most_memory), int8 = draw(spare + 100'000), int4 = draw(1);
  CHECK(whole.rounded_to.empty());
  CHECK(int8.rounded_to == " rounded to int8");
  CHECK(int4.rounded_to == " rounded to int4");
  CHECK(int4.windows.ids != whole.windows.ids);
  CHECK(int4.windows.ids.size() == whole.windows.ids.size());
}

TEST_CASE("Where an end is a beginning as well, the text goes on behind it") {
  const TemporaryFolder folder;
  const fs::path model = write_grouped_models(folder.path()).front();
  nlohmann::json config = nlohmann::json::parse(read_text(model / "config.json"));
  config["eos_token_id"] = config["bos_token_id"];
  write_text(model / "config.json", config.dump());
  int repeated = 0, ends = 0;
  for (const std::vector<int32_t>& window :
       self_text(FolderWeights(model), most_memory, Team(2), 4000, 48, 5, {}).windows.ids)
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
      std::vector<std::string> stages;
      CHECK_THROWS_WITH(
          quantize(folder.path(), folder.path() / "out", gptq_recipe(folder.path(), 16), Team(2), {"test"},
                   [&](const std::string& stage, int64_t, int64_t, const std::string&) {
                     stages.push_back(stage);
                   }),
          Catch::Contains(name) && Catch::Contains("element 2"));
      CHECK(stages.empty());
      CHECK_FALSE(fs::exists(folder.path() / "out"));
    }
}

TEST_CASE("Weights that no scale stands for are named before any text is drawn or layer run") {
  const TemporaryFolder folder;
  const TinyModel tiny = {.hidden_size = 64, .intermediate_size = 96};
  write_tiny_model(folder.path(), tiny);
  const std::vector<RawTensor> tensors = tensors_of(tiny);
  const auto error_of = [&](const Recipe& recipe, std::vector<std::string>& stages) -> std::string {
    try {
      quantize(
          folder.path(), folder.path() / "out", recipe, Team(2), {"test"},
          [&](const std::string& stage, int64_t, int64_t, const std::string&) { stages.push_back(stage); });
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  for (const RotationName rotation : {RotationName::none, RotationName::values})
    for (const auto& [name, format] : {std::pair("model.layers.1.mlp.up_proj.weight", WeightFormat::int4),
                                       {"model.layers.0.self_attn.q_proj.weight", WeightFormat::int8},
                                       {"model.embed_tokens.weight", WeightFormat::int4}}) {
      CAPTURE(name);
      std::vector<RawTensor> changed = tensors;
      for (RawTensor& tensor : changed) {
        if (tensor.name != name) continue;
        std::vector<float> values(tensor.bytes.size() / sizeof(float));
        std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
        // Of row 5 the second group, or all of it.
        for (size_t k = 5 * 64 + (format == WeightFormat::int4 ? 32 : 0); k < 6 * 64; ++k)
          values[k] = std::ldexp(values[k], -145);
        tensor.bytes = bytes_of(values);
      }
      write_safetensors(folder.path() / "model.safetensors", changed);
      Recipe recipe = gptq_recipe(folder.path(), 16);
      recipe.rotation = rotation;
      recipe.weights = format;
      recipe.group_size = format == WeightFormat::int4 ? 32 : 0;
      if (name == std::string("model.embed_tokens.weight")) recipe.lm_head = WeightFormat::int4;
      std::vector<std::string> stages, unused;
      const std::string message = error_of(recipe, stages);
      CAPTURE(message, stages.size());
      CHECK(message.find(name) != std::string::npos);
      CHECK(message.find(format == WeightFormat::int4
                             ? "row 5, group 1: no scale in BF16"
                             : "row 5, group 0: no scale in F32") != std::string::npos);
      CHECK(stages.empty());
      recipe.method = MethodName::rtn;
      CHECK(error_of(recipe, unused) == message);
    }
}

TEST_CASE("Modules that are kept cost no calibration, and layers that are kept go through as they are") {
  const TemporaryFolder folder;
  for (const fs::path& model : write_grouped_models(folder.path())) {
    CAPTURE(model.filename());
    Recipe recipe = gptq_recipe(folder.path());
    recipe.exclude = {"\\.0\\.", "\\.1\\..*(down_proj|mlp)"};
    const fs::path out = model.string() + "-out";
    CHECK(quantize(model, out, recipe, Team(2), {"test"}, {}).weights.modules > 0);
    CHECK(mean_kl(model, out) < 0.1);
  }
}

TEST_CASE("The last of the windows are held out, and what is wrong with a file is said") {
  const TemporaryFolder folder;
  write_tiny_model(folder.path(), {.hidden_size = 32, .intermediate_size = 64});
  const FolderWeights source(folder.path());
  const fs::path file = folder.path() / "ids.json";
  const auto read = [&](const std::string& text, int64_t tokens) {
    write_text(file, text);
    return calibration_text({.source = file, .tokens = tokens}, source, most_memory, Team(1), {});
  };
  const CalibrationText text = read("[[1, 2, 3, 4], [5, 6], [7, 8], [9, 10]]", 5);
  CHECK(text.windows == std::vector<std::vector<int32_t>>{{1, 2, 3, 4}});
  CHECK(text.held_out.ids == std::vector<std::vector<int32_t>>{{5, 6}});
  CHECK(text.tokens() == 4);
  CHECK(read("[[1, 2, 3, 4]]", 5).held_out.ids.empty());
  for (const char* wrong : {"[[1, 2, 99]]", "[]", "[[1]]", "{", "[[-1, 2]]", ""})
    CHECK_THROWS_WITH(read(wrong, 5), Catch::Contains("ids.json") || Catch::Contains("99"));
  nlohmann::json longer;
  longer.emplace_back(std::vector<int>(65, 1));
  CHECK_THROWS_WITH(read(longer.dump(), 5), Catch::Contains("65 ids") && Catch::Contains("64 positions"));
}

TEST_CASE("The held-out figures are those of the model that was written") {
  const TemporaryFolder folder;
  const Team team(2);
  for (const fs::path& model : write_grouped_models(folder.path())) {
    CAPTURE(model.filename());
    for (const auto& [head, embedding] :
         {std::pair<std::optional<WeightFormat>, std::optional<WeightFormat>>{{}, {}},
          {WeightFormat::int8, {}},
          {{}, WeightFormat::int8},
          {WeightFormat::int8, WeightFormat::int8}}) {
      Recipe recipe = gptq_recipe(folder.path());
      recipe.lm_head = head;
      recipe.embedding = embedding;
      recipe.block_steps = head ? 40 : 0;
      recipe.tuning_tokens = embedding ? 800 : 0;
      const fs::path out = folder.path() / "out";
      fs::remove_all(out);
      const QuantizationReport report = quantize(model, out, recipe, team, {"test"}, {});
      const CalibrationText text =
          calibration_text(recipe.calibration, FolderWeights(model), most_memory, team, {});
      const DriftReport drift = measure_drift(Model(model, team), Model(out, team), team, text.held_out,
                                              KvFormat::f16, nullptr, {});
      REQUIRE(report.held_out);
      CHECK(report.held_out->kl.mean == drift.kl.mean);
      CHECK(report.held_out->model_nll == drift.model_nll);
      CHECK(report.held_out->baseline_nll == drift.baseline_nll);
      // What tuning chose by is what was written.
      if (recipe.tuning_tokens)
        CHECK(read_text(out / "model.safetensors").find(fmt::format(" to {:.6f}\"", drift.kl.mean)) !=
              std::string::npos);
    }
  }
}

TEST_CASE("What tuning end to end would need more memory for than is allowed is left out, and told") {
  const TemporaryFolder folder;
  const fs::path model = write_grouped_models(folder.path()).front();
  Recipe recipe = gptq_recipe(folder.path());
  recipe.block_steps = 40;
  recipe.tuning_tokens = 800;
  int64_t weights = 0;
  const FolderWeights source(model);
  for (const Module& module : source.inventory().modules())
    if (module.kind() == ModuleKind::linear && module.layer >= 0) weights += module.rows * module.cols;
  for (const int64_t allowed : {12 * weights, 12 * weights - 1}) {
    const fs::path out = folder.path() / fmt::format("{}", allowed);
    const QuantizationReport report =
        quantize(model, out, recipe, Team(2), {.version = "test", .memory = allowed}, {});
    const bool left_out = allowed < 12 * weights;
    CHECK(report.recipe.tuning_tokens == (left_out ? 0 : 800));
    CHECK(report.recipe.block_steps == 40);
    CHECK(std::ranges::count_if(report.notes, [](const std::string& note) {
            return note.find("not tuned end to end") != std::string::npos;
          }) == left_out);
  }
}

TEST_CASE(
    "So they are where modules of a rotated model stay floats, of fewer bits than they were judged in") {
  const TemporaryFolder folder;
  const Team team(2);
  for (const char* dtype : {"F16", "BF16"})
    for (const RotationName rotation : {RotationName::values, RotationName::all})
      for (const int64_t tuning_tokens : {0, 800}) {
        CAPTURE(dtype, name(rotation), tuning_tokens);
        const fs::path model = folder.path() / "model", out = folder.path() / "out";
        fs::remove_all(model);
        fs::remove_all(out);
        fs::create_directories(model);
        write_tiny_model(model, {.hidden_size = 64,
                                 .intermediate_size = 96,
                                 .num_attention_heads = 4,
                                 .num_key_value_heads = 2,
                                 .head_dim = 16,
                                 .vocab_size = 60,
                                 .dtype = dtype,
                                 .attention_bias = true,
                                 .tied = false});
        Recipe recipe = gptq_recipe(folder.path());
        recipe.rotation = rotation;
        recipe.exclude = {"v_proj", "layers\\.0\\..*(o_proj|mlp)"};
        recipe.tuning_tokens = tuning_tokens;
        const QuantizationReport report = quantize(model, out, recipe, team, {"test"}, {});
        const CalibrationText text =
            calibration_text(recipe.calibration, FolderWeights(model), most_memory, team, {});
        const DriftReport drift = measure_drift(Model(model, team), Model(out, team), team, text.held_out,
                                                KvFormat::f16, nullptr, {});
        CHECK(report.held_out->kl.mean == drift.kl.mean);
        CHECK(report.held_out->model_nll == drift.model_nll);
      }
}

TEST_CASE("The rotation chosen is one of those that there are, and drifts least of them or is none") {
  const TemporaryFolder folder;
  for (const fs::path& model : write_grouped_models(folder.path())) {
    CAPTURE(model.filename());
    Recipe recipe = gptq_recipe(folder.path());
    recipe.rotation = RotationName::automatic;
    const fs::path out = model.string() + "-auto", same = model.string() + "-same";
    const QuantizationReport chosen = quantize(model, out, recipe, Team(2), {"test"}, {});
    CHECK(chosen.recipe.rotation != RotationName::automatic);
    recipe.rotation = chosen.recipe.rotation;
    const QuantizationReport again = quantize(model, same, recipe, Team(1), {"test"}, {});
    CHECK(read_text(out / "model.safetensors") == read_text(same / "model.safetensors"));
    for (const RotationName rotation : {RotationName::none, RotationName::values}) {
      recipe.rotation = rotation;
      const fs::path other = out.string() + "-" + std::string(name(rotation));
      // What is none wins within the noise.
      CHECK(0.97 * again.held_out->kl.mean <=
            quantize(model, other, recipe, Team(2), {"test"}, {}).held_out->kl.mean);
    }
  }
  Recipe recipe = gptq_recipe(folder.path());
  recipe.rotation = RotationName::automatic;
  const fs::path model = write_grouped_models(folder.path() / "more").front();
  const auto refused = [&](const RunOptions& options) {
    CHECK_THROWS_AS(quantize(model, folder.path() / "no", recipe, Team(1), options, {}), Error);
    CHECK(!fs::exists(folder.path() / "no"));
  };
  refused({.version = "test", .budget = {.bits = 5}});
  recipe.method = MethodName::rtn;
  refused({"test"});
}
