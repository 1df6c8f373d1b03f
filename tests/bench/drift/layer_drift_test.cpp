#include "bench/drift/layer_drift.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "engine/decoder.h"
#include "tests/support/paths.h"
#include "tests/support/pruned_folders.h"
#include "tests/support/quantized_folders.h"
#include "tests/support/tiny_families.h"

using namespace whittle;
using namespace whittle::test;

namespace {

TinyModel tiny_llama() {
  return {.hidden_size = 40,
          .intermediate_size = 72,
          .num_hidden_layers = 3,
          .num_attention_heads = 4,
          .num_key_value_heads = 2,
          .head_dim = 10,
          .vocab_size = 60,
          .tied = false};
}

Windows windows_of(std::vector<std::vector<int32_t>> ids) {
  Windows windows{.ids = std::move(ids), .protocol = "token ids"};
  for (const auto& window : windows.ids) windows.context = std::max(windows.context, std::ssize(window));
  return windows;
}

Windows some_windows() {
  std::vector<int32_t> longer;
  for (int32_t i = 0; i < 70; ++i) longer.push_back((7 * i + i * i) % 60);  // more than a chunk of rows
  return windows_of({{1, 5, 9, 2, 8}, longer, {3, 4}});
}

// A folder whose tensors `edit` has changed.
std::filesystem::path write_edited(const std::filesystem::path& folder, const nlohmann::json& config,
                                   std::vector<RawTensor> tensors, const std::string& scaled, float factor) {
  std::filesystem::create_directories(folder);
  for (RawTensor& tensor : tensors) {
    if (tensor.name != scaled) continue;
    REQUIRE(tensor.dtype == "F32");
    for (size_t i = 0; i < tensor.bytes.size(); i += 4) {
      float value = 0;
      std::memcpy(&value, tensor.bytes.data() + i, 4);
      value *= factor;
      std::memcpy(tensor.bytes.data() + i, &value, 4);
    }
  }
  write_text(folder / "config.json", config.dump());
  write_safetensors(folder / "model.safetensors", tensors);
  return folder;
}

LayerDriftReport measure(const std::filesystem::path& baseline, const std::filesystem::path& model,
                         const Windows& windows, KvFormat kv_cache = KvFormat::f32, int threads = 2) {
  const Team team(threads);
  return measure_layer_drift(Model(baseline, team), Model(model, team), team, windows, kv_cache, {});
}

// A model of 4-bit GPTQ and the same values as floats, so that only inputs are rounded.
void write_pair(const std::filesystem::path& folder) {
  TinyModel tiny = tiny_llama();
  tiny.hidden_size = 64;
  tiny.head_dim = 16;
  SplitMix64 random(31);
  write_quantized_pair(
      folder / "quantized", folder / "floats", tiny, gptq_config(4, 8, false, false, GptqZeros::plain),
      [&](int64_t rows, int64_t cols) { return random_linear(random, rows, cols, 4, 8, false); },
      [](const std::string& module, const QuantizedLinear& linear) {
        return gptq_tensors(module, linear, GptqZeros::plain);
      });
}

}  // namespace

TEST_CASE("No layer drifts from itself") {
  const TemporaryFolder folder;
  write_tiny_model(folder.path(), tiny_llama());
  const Windows windows = some_windows();
  const LayerDriftReport report = measure(folder.path(), folder.path(), windows);
  CHECK(report.tokens == 4 + 69 + 1);
  CHECK(report.embedding.value() == 0);
  CHECK(report.embedding.power > 0);
  REQUIRE(report.layers.size() == 3);
  for (const LayerDrift& layer : report.layers) {
    CHECK(layer.stream.value() == 0);
    CHECK(layer.stream.power > 0);
    CHECK(layer.alone.value() == 0);
    REQUIRE(layer.linears.size() == 7);
    for (const LinearDrift& linear : layer.linears) {
      CHECK(linear.input.value() == 0);
      CHECK(linear.output.value() == 0);
      CHECK(linear.output.power > 0);
    }
  }
  CHECK(report.head.output.value() == 0);
  CHECK(layer_drift_text(report).find("largest, of linears: none") != std::string::npos);
}

TEST_CASE("The linear that is damaged is named, in every family") {
  struct Damage {
    std::string tensor;
    size_t layer;
    std::vector<Role> roles;  // that it changes; none: the head
  };
  struct Family {
    nlohmann::json config;
    std::vector<RawTensor> tensors;
    std::vector<Damage> damages;
  };
  const TinyFamily gpt2 = {.gpt2 = true, .dtype = "F32"}, bloom = {.gpt2 = false, .dtype = "F32"};
  const std::string llama = "model.layers.1.";
  const Family families[] = {{config_of(tiny_llama()),
                              tensors_of(tiny_llama()),
                              {{llama + "self_attn.q_proj", 1, {Role::q}},
                               {llama + "self_attn.k_proj", 1, {Role::k}},
                               {llama + "self_attn.v_proj", 1, {Role::v}},
                               {llama + "self_attn.o_proj", 1, {Role::o}},
                               {llama + "mlp.gate_proj", 1, {Role::gate}},
                               {llama + "mlp.up_proj", 1, {Role::up}},
                               {"model.layers.2.mlp.down_proj", 2, {Role::down}},
                               {"lm_head", 3, {}}}},
                             {config_of(gpt2),
                              tensors_of(gpt2),
                              {{"transformer.h.0.attn.c_attn", 0, {Role::q, Role::k, Role::v}},
                               {"transformer.h.1.mlp.c_fc", 1, {Role::up}}}},
                             {config_of(bloom),
                              tensors_of(bloom),
                              {{"transformer.h.1.self_attention.dense", 1, {Role::o}},
                               {"transformer.h.0.mlp.dense_4h_to_h", 0, {Role::down}}}}};
  for (const Family& family : families)
    for (const Damage& damage : family.damages) {
      INFO(damage.tensor);
      const TemporaryFolder folder;
      const auto baseline = write_edited(folder.path() / "baseline", family.config, family.tensors, "", 1);
      const auto broken = write_edited(folder.path() / "broken", family.config, family.tensors,
                                       damage.tensor + ".weight", 1.5f);
      const LayerDriftReport report = measure(baseline, broken, some_windows());
      for (size_t i = 0; i < report.layers.size(); ++i) {
        const LayerDrift& layer = report.layers[i];
        INFO("layer " << i);
        CHECK((layer.stream.value() > 0) == (i >= damage.layer));
        CHECK((layer.alone.value() > 0) == (i == damage.layer));
        for (const LinearDrift& linear : layer.linears) {
          INFO(info(linear.role).name);
          const bool damaged = i == damage.layer && std::ranges::count(damage.roles, linear.role);
          // Without a bias half as much again is an error of a half, up to float32's rounding.
          if (damaged && family.config["model_type"] == "llama")
            CHECK(std::fabs(linear.output.value() - 0.5) < 1e-5);
          else
            CHECK((linear.output.value() > 0) == damaged);
          if (i < damage.layer) CHECK(linear.input.value() == 0);
          if (i > damage.layer) CHECK(linear.input.value() > 0);
        }
      }
      const bool head = damage.roles.empty();
      CHECK((report.head.output.value() > 0) == head);
      CHECK((report.head.input.value() > 0) == !head);
      const std::string text = layer_drift_text(report), largest = "largest, of linears: ";
      const auto named = [&](const std::string& name) {
        return text.find(largest + name + " ") != text.npos;
      };
      CHECK((head ? named("head") : std::ranges::any_of(damage.roles, [&](Role role) {
        return named(fmt::format("layer {} {}", damage.layer, info(role).name));
      })));
    }
}

TEST_CASE("The stream's errors are those of the two models seen whole") {
  const TemporaryFolder folder;
  write_pair(folder.path());
  const Team team(2);
  const Model baseline(folder.path() / "floats", team), model(folder.path() / "quantized", team);
  const Windows windows = some_windows();
  const LayerDriftReport report = measure_layer_drift(baseline, model, team, windows, KvFormat::int8, {});
  const auto streams = [&](const Model& of, KvFormat format, const std::vector<int32_t>& ids) {
    std::vector<std::vector<float>> seen;
    const int64_t rows = std::ssize(ids), width = of.spec().hidden_size;
    Decoder decoder(of, team, rows, rows);
    KvCache cache(of.spec(), format, rows);
    std::vector<DecoderRow> step;
    for (int64_t m = 0; m < rows; ++m) step.push_back({ids[static_cast<size_t>(m)], &cache, m});
    const Observer observer = {.hidden =
                                   [&](int32_t, FloatRows hidden) {
                                     std::vector<float>& copy = seen.emplace_back();
                                     for (int64_t m = 0; m < rows; ++m)
                                       copy.insert(copy.end(), hidden.values + m * hidden.stride,
                                                   hidden.values + m * hidden.stride + width);
                                   },
                               .input = {}};
    decoder.observe(&observer);
    decoder.step(step, 1);
    return seen;
  };
  const auto width = static_cast<size_t>(model.spec().hidden_size);
  for (size_t layer = 0; layer <= report.layers.size(); ++layer) {
    double difference = 0, power = 0;
    for (const std::vector<int32_t>& ids : windows.ids) {
      const auto theirs = streams(baseline, KvFormat::f32, ids)[layer];
      const auto ours = streams(model, KvFormat::int8, ids)[layer];
      for (size_t i = width; i < theirs.size(); ++i) {
        difference += std::pow(static_cast<double>(ours[i]) - static_cast<double>(theirs[i]), 2);
        power += std::pow(static_cast<double>(theirs[i]), 2);
      }
    }
    const RelativeError& found = layer ? report.layers[layer - 1].stream : report.embedding;
    INFO("after " << layer << " layers");
    // Sums of some thousand positive terms, in another order.
    CHECK(std::fabs(found.difference - difference) <= 1e-12 * difference);
    CHECK(std::fabs(found.power - power) <= 1e-12 * power);
    CHECK((found.value() > 0) == (layer > 0));
  }
  // Only inputs are rounded, in groups of 8: to half a step of 127 of the largest of a group.
  for (const LayerDrift& layer : report.layers)
    for (const LinearDrift& linear : layer.linears) {
      CHECK(linear.output.value() > 0);
      CHECK(linear.output.value() < 0.02);
    }
}

TEST_CASE("Errors by layer are the same for any number of threads") {
  const TemporaryFolder folder;
  write_pair(folder.path());
  const auto json = [&](int threads) {
    return layer_drift_json(measure(folder.path() / "floats", folder.path() / "quantized", some_windows(),
                                    KvFormat::f16, threads));
  };
  const nlohmann::json one = json(1);
  CHECK(json(2) == one);
  CHECK(json(5) == one);
  CHECK(one["layers"][2]["linears"]["down"]["output_error_percent"].get<double>() > 0);
}

TEST_CASE("Layers of other shapes, or ids that are not there, are one error") {
  const TemporaryFolder folder;
  TinyModel tiny = tiny_llama();
  std::filesystem::create_directories(folder.path() / "a");
  std::filesystem::create_directories(folder.path() / "b");
  write_tiny_model(folder.path() / "a", tiny);
  tiny.intermediate_size = 80;
  write_tiny_model(folder.path() / "b", tiny);
  CHECK_THROWS_WITH(measure(folder.path() / "a", folder.path() / "b", some_windows()),
                    Catch::Contains("shapes"));
  CHECK_THROWS_WITH(measure(folder.path() / "a", folder.path() / "a", windows_of({{0, 60}})),
                    Catch::Contains("token id 60"));
}

TEST_CASE("Errors by layer that are no numbers are said so in text and JSON") {
  LayerDriftReport report;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  report.layers.resize(2);
  report.layers[0] = {.stream = {1, 4}, .alone = {1, 4}, .linears = {{Role::up, {1, 4}, {1, 4}}}};
  report.layers[1] = {.stream = {1, 0}, .alone = {nan, 1}, .linears = {{Role::up, {1, 4}, {nan, nan}}}};
  const std::string text = layer_drift_text(report);
  INFO(text);
  CHECK(text.find("nan") == std::string::npos);
  CHECK(text.find("inf") == std::string::npos);
  CHECK(text.find("50.0") != std::string::npos);
  CHECK(text.find("∞") != std::string::npos);
  CHECK(text.find("largest, of linears: layer 1 up – %, layer 0 up 50.0 %") != std::string::npos);
  const nlohmann::json json = layer_drift_json(report);
  CHECK(json["layers"][0]["stream_error_percent"] == 50);
  CHECK(json["layers"][1]["stream_error_percent"].is_null());
  CHECK(json["layers"][1]["alone_error_percent"].is_null());
  CHECK(json["layers"][1]["linears"]["up"]["output_error_percent"].is_null());
}

TEST_CASE("Layers are compared by what they have, and only with layers that have the same") {
  const TemporaryFolder folder;
  write_tiny_model(folder.path(), tiny_llama());
  std::vector<int64_t> some;
  for (int64_t i = 0; i < 72; i += 2) some.push_back(i);
  const auto pruned = [&](const char* name, const std::vector<Kept>& kept) {
    return write_pruned(folder.path(), folder.path() / name, kept, false);
  };
  const std::filesystem::path model = pruned("a", {{some, {1}}, {some, {}}, {{}, {0, 1}}});
  const LayerDriftReport same = measure(model, model, some_windows());
  REQUIRE(same.layers.size() == 3);
  const size_t linears[] = {7, 3, 4};
  for (size_t i = 0; i < 3; ++i) {
    CHECK(same.layers[i].stream.value() == 0);
    CHECK(same.layers[i].stream.power > 0);
    REQUIRE(same.layers[i].linears.size() == linears[i]);
    for (const LinearDrift& linear : same.layers[i].linears) {
      CHECK(linear.output.value() == 0);
      CHECK(linear.output.power > 0);
      CHECK(linear.input.power > 0);
    }
  }
  CHECK(same.layers[2].linears[0].role == Role::q);
  CHECK(layer_drift_text(same).find("–") != std::string::npos);
  CHECK(same.layers[1].linears[0].role == Role::gate);
  CHECK_THROWS_WITH(measure(folder.path(), model, some_windows()), Catch::Contains("shapes"));
  CHECK_THROWS_WITH(measure(pruned("b", {{some, {1}}, {some, {}}, {some, {0, 1}}}), model, some_windows()),
                    Catch::Contains("shapes"));
}
