// The backward pass of every family against finite differences of a decoder in double precision.

#include "quant/gradient/model_gradient.h"

#include <catch2/catch.hpp>
#include <memory>
#include <set>

#include "engine/session.h"
#include "quant/gradient/operations.h"
#include "quant/quantized_matrix.h"
#include "quant/replaced_weights.h"
#include "tests/support/paths.h"
#include "tests/support/pruned_folders.h"
#include "tests/support/reference_decoder.h"
#include "tests/support/tiny_families.h"

using namespace whittle;
using namespace whittle::test;
namespace fs = std::filesystem;

namespace {

using Ids = std::vector<std::vector<int32_t>>;

struct Case {
  std::string name;
  std::function<void(const fs::path&)> write;
};

// A tiny model of the named architecture with fields of config.json changed.
Case tiny(const std::string& name, const TinyModel& model, const nlohmann::json& changes = {}) {
  return {name, [=](const fs::path& folder) {
            write_tiny_model(folder, model);
            nlohmann::json config = config_of(model);
            if (!changes.is_null()) config.update(changes);
            write_text(folder / "config.json", config.dump());
          }};
}

std::vector<Case> cases() {
  const nlohmann::json llama3 = {{"rope_scaling",
                                  {{"rope_type", "llama3"},
                                   {"factor", 4.0},
                                   {"low_freq_factor", 1.0},
                                   {"high_freq_factor", 4.0},
                                   {"original_max_position_embeddings", 16}}}};
  const nlohmann::json linear = {{"rope_scaling", {{"rope_type", "linear"}, {"factor", 3.0}}}};
  TinyModel wide = {.hidden_size = 72,
                    .intermediate_size = 31,
                    .num_hidden_layers = 1,
                    .num_attention_heads = 3,
                    .num_key_value_heads = 3,
                    .head_dim = 24,
                    .vocab_size = 33,
                    .tied = false,
                    .seed = 3};
  std::vector<Case> all = {
      tiny("Llama", {}),
      tiny("Llama with biases", {.attention_bias = true, .mlp_bias = true, .tied = false}, llama3),
      tiny("Llama with scaled positions", wide, linear),
      tiny("Mistral", {.architecture = "MistralForCausalLM", .num_attention_heads = 4},
           {{"sliding_window", 3}}),
      tiny("Qwen2", {.architecture = "Qwen2ForCausalLM"},
           {{"use_sliding_window", true}, {"sliding_window", 2}, {"max_window_layers", 1}}),
      tiny("Qwen3", {.architecture = "Qwen3ForCausalLM", .attention_bias = true}),
  };
  for (const bool attention : {true, false})
    all.push_back({"Layers that differ", [=](const fs::path& folder) {
                     const fs::path whole = folder / "whole";
                     fs::create_directory(whole);
                     write_tiny_model(whole, {.num_hidden_layers = 3,
                                              .num_attention_heads = 4,
                                              .num_key_value_heads = 2,
                                              .attention_bias = true});
                     const std::vector<int64_t> some = {0, 2, 3, 7, 8, 15}, both = {0, 1};
                     write_pruned(whole, folder,
                                  {{some, {1}}, attention ? Kept{{}, both} : Kept{some, {}}, {some, both}},
                                  false);
                   }});
  for (const bool gpt2 : {true, false})
    for (const bool tied : {true, false})
      all.push_back({gpt2 ? "GPT-2" : "BLOOM", [=](const fs::path& folder) {
                       write_family(folder,
                                    {.gpt2 = gpt2, .tied = tied, .hidden = 24, .heads = 3, .vocab = 33});
                     }});
  return all;
}

const Ids windows = {{3, 1, 4, 1, 5, 9, 2}, {6}, {5, 3, 5, 8, 0}};

// Σ over tokens of a fixed smooth function of the logits, and its derivative.
double weight_of(int64_t token, int64_t i) { return std::sin(static_cast<double>(token * 31 + i * 7 + 1)); }
double loss_of(const ReferenceDecoder& model, const Ids& of) {
  double loss = 0;
  int64_t token = 0;
  for (const auto& window : of)
    for (const std::vector<double>& logits : model.logits(window)) {
      for (size_t i = 0; i < logits.size(); ++i)
        loss += weight_of(token, static_cast<int64_t>(i)) * std::tanh(logits[i]);
      ++token;
    }
  return loss;
}
void loss_backward(int64_t first, Matrix& logits) {
  for (int64_t m = 0; m < logits.rows(); ++m)
    for (int64_t i = 0; i < logits.cols(); ++i) {
      const double t = std::tanh(static_cast<double>(logits.row(m)[i]));
      logits.row(m)[i] = static_cast<float>(weight_of(first + m, i) * (1 - t * t));
    }
}

struct Gradient {
  std::vector<float> weight, bias;
};
std::map<std::string, Gradient> gradients(
    const WeightSource& source, const Team& team, const Wanted& wanted = [](const Module&) { return true; }) {
  std::map<std::string, Gradient> all;
  ModelGradient model(source, team);
  model.forward(windows);
  model.backward(loss_backward, wanted, [&](const ModuleGradient& gradient) {
    Gradient& copy = all[gradient.module.name];
    CHECK(gradient.weight.rows() == gradient.module.rows);
    CHECK(gradient.weight.cols() == gradient.module.cols);
    for (int64_t m = 0; m < gradient.weight.rows(); ++m)
      copy.weight.insert(copy.weight.end(), gradient.weight.row(m),
                         gradient.weight.row(m) + gradient.weight.cols());
    copy.bias.assign(gradient.bias.begin(), gradient.bias.end());
  });
  return all;
}

// Central differences in double: their own error is about 1e-16 / h + h², here some 1e-10 of the largest.
double difference(ReferenceDecoder& model, double& parameter) {
  const double kept = parameter, h = 1e-5;
  parameter = kept + h;
  const double above = loss_of(model, windows);
  parameter = kept - h;
  const double below = loss_of(model, windows);
  parameter = kept;
  return (above - below) / (2 * h);
}

// Some of [0, size): all of few, else the ends and what lies at a prime's distance.
std::vector<size_t> sampled(size_t size, size_t most) {
  std::set<size_t> places = {0, size - 1};
  for (size_t i = 0; places.size() < std::min(size, most); ++i) places.insert(i * 7919 % size);
  return {places.begin(), places.end()};
}

}  // namespace

TEST_CASE("Derivatives of every module of every family are those of finite differences") {
  const Team team(2);
  for (const Case& model : cases()) {
    const TemporaryFolder folder;
    model.write(folder.path());
    const FolderWeights source(folder.path());
    ReferenceDecoder reference(source);
    const std::map<std::string, Gradient> found = gradients(source, team);
    REQUIRE(found.size() == source.inventory().modules().size());
    for (const Module& module : source.inventory().modules()) {
      CAPTURE(model.name, module.name);
      const Gradient& gradient = found.at(module.name);
      REQUIRE(gradient.bias.size() == reference.values(module.name).bias.size());
      REQUIRE(gradient.weight.size() == reference.values(module.name).weight.size());
      // float32 sums of a few thousand terms, each good to some 2⁻²², against the largest derivative there.
      for (const auto& [values, of] : {std::pair(&reference.values(module.name).weight, &gradient.weight),
                                       std::pair(&reference.values(module.name).bias, &gradient.bias)}) {
        if (values->empty()) continue;
        double largest = 0;
        for (const float value : *of) largest = std::max(largest, std::abs(static_cast<double>(value)));
        for (const size_t i : sampled(values->size(), 12)) {
          CAPTURE(i);
          CHECK(static_cast<double>((*of)[i]) ==
                Approx(difference(reference, (*values)[i])).margin(2e-5 * largest));
        }
        CHECK(largest > 0);
      }
    }
  }
}

TEST_CASE("The forward pass gives the engine's logits") {
  const Team team(2);
  for (const Case& model : cases()) {
    CAPTURE(model.name);
    const TemporaryFolder folder;
    model.write(folder.path());
    const FolderWeights source(folder.path());
    ModelGradient gradient(source, team);
    gradient.forward(windows);
    const Model engine(folder.path(), team);
    Matrix logits;
    int64_t token = 0;
    for (const auto& window : windows) {
      Session session(engine, team, {.context = 16, .kv_cache = KvFormat::f32});
      const Logits expected = session.forward_all(window);
      gradient.logits({token, token + expected.rows}, logits);
      token += expected.rows;
      for (int64_t m = 0; m < expected.rows; ++m) {
        float largest = 0;
        for (const float value : expected.row(m)) largest = std::max(largest, std::abs(value));
        for (int64_t i = 0; i < expected.vocab_size; ++i)
          CHECK(logits.row(m)[i] == Approx(expected.row(m)[static_cast<size_t>(i)]).margin(1e-5 * largest));
      }
    }
  }
}

TEST_CASE("Derivatives are the same bits on any number of threads, and only those that are wanted come") {
  for (const Case& model : cases()) {
    CAPTURE(model.name);
    const TemporaryFolder folder;
    model.write(folder.path());
    const FolderWeights source(folder.path());
    const std::map<std::string, Gradient> one = gradients(source, Team(1)), two = gradients(source, Team(2));
    const auto last =
        gradients(source, Team(2), [](const Module& module) { return module.role == Role::down; });
    for (const auto& [name, gradient] : one) {
      CHECK(gradient.weight == two.at(name).weight);
      CHECK(gradient.bias == two.at(name).bias);
      const bool wanted = source.inventory().find(name)->role == Role::down;
      CHECK(last.contains(name) == wanted);
      if (wanted) CHECK(last.at(name).weight == gradient.weight);
    }
  }
}

TEST_CASE("Quantized linears read int8 inputs, as the engine's do") {
  const Team team(2);
  const TemporaryFolder folder;
  const TinyModel tiny = {.hidden_size = 64,
                          .intermediate_size = 72,
                          .num_hidden_layers = 1,
                          .num_attention_heads = 2,
                          .num_key_value_heads = 1,
                          .head_dim = 32,
                          .vocab_size = 40};
  write_tiny_model(folder.path(), tiny);
  const FolderWeights source(folder.path());
  // Of a layer alone: after the first rounding, a sum in another order moves an input across a code's border
  // now and then, and what follows differs by a step.
  for (const int64_t group_size : {0, 32}) {
    for (const Role role : {Role::q, Role::gate, Role::down}) {
      CAPTURE(group_size, role);
      const Module& module = *source.inventory().find(0, role);
      QuantizationScheme scheme;
      scheme.format = group_size ? WeightFormat::int4 : WeightFormat::int8;
      scheme.strategy = group_size ? ScaleStrategy::group : ScaleStrategy::channel;
      scheme.group_size = group_size;
      ReplacedWeights replaced(source);
      replaced.replace(module.name, {round_to_nearest(source, module, scheme, team).matrix, 0});
      const LinearValues values = load_values(replaced, module, team);
      const Linear linear = load_linear(replaced, module, team);
      LinearInput input(3, module.cols, {linear.activation_group_size()});
      Matrix x(3, module.cols), read, y;
      SplitMix64 random(5);
      for (int64_t m = 0; m < 3; ++m) {
        for (int64_t i = 0; i < module.cols; ++i) input.row(m)[i] = x.row(m)[i] = random.uniform(-2, 2);
        input.quantize(m, module.cols, linear.activation_group_size());
      }
      quantize_inputs(team, x, values.input_group_size, read);
      Panels panels;
      panels.pack(team, values.weight);
      multiply(team, read.view(), panels, y);
      std::vector<float> expected(static_cast<size_t>(3 * linear.padded_rows()));
      linear.multiply(input, 3, {0, linear.panels()}, {expected.data(), linear.padded_rows()});
      for (int64_t m = 0; m < 3; ++m)
        for (int64_t n = 0; n < module.rows; ++n)  // 72 terms of at most 1, rounded to 2⁻²⁴ each time
          CHECK(y.row(m)[n] ==
                Approx(expected[static_cast<size_t>(m * linear.padded_rows() + n)]).margin(72 * 0x1p-22));
    }
  }
}

TEST_CASE("Tokens and windows that a model does not have are refused") {
  const Team team(1);
  const TemporaryFolder folder;
  write_family(folder.path(), {.positions = 4});
  const FolderWeights source(folder.path());
  ModelGradient gradient(source, team);
  CHECK_THROWS_WITH(gradient.forward(Ids{{1}, {71}}),
                    "window 1: token 71 is not within the vocabulary of 71");
  CHECK_THROWS_WITH(gradient.forward(Ids{{1, 2, 3, 4, 5}}),
                    Catch::Matchers::Contains("max_position_embeddings"));
}
