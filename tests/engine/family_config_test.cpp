// What GPT-2 and BLOOM folders may look like, and what is refused.

#include <catch2/catch.hpp>

#include "engine/session.h"
#include "tests/support/hostile.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_families.h"

using namespace whittle;
using namespace whittle::test;
using Catch::Matchers::Contains;
using nlohmann::json;

namespace {

// Fields of `edit` replace those of the config; "" takes one out.
void write_edited(const std::filesystem::path& folder, const TinyFamily& model, const json& edit) {
  json config = config_of(model);
  for (const auto& [field, value] : edit.items()) {
    if (value == "")
      config.erase(field);
    else
      config[field] = value;
  }
  write_text(folder / "config.json", config.dump());
}

std::vector<float> logits_of(const std::filesystem::path& folder) {
  const Team team(1);
  const Model model(folder, team);
  Session session(model, team, {.context = 8});
  const std::vector<int32_t> ids = {3, 70, 0, 12, 5};
  const auto row = session.forward(ids).row(0);
  return {row.begin(), row.end()};
}

}  // namespace

TEST_CASE("Names with and without \"transformer.\", and causal masks, give the same model") {
  for (const bool gpt2 : {true, false})
    for (const bool tied : {true, false}) {
      CAPTURE(gpt2, tied);
      const TemporaryFolder folder;
      TinyFamily tiny = {.gpt2 = gpt2, .tied = tied};
      const auto expected = logits_of(write_family(folder.path() / "based", tiny));
      tiny.masks = gpt2;
      CHECK(logits_of(write_family(folder.path() / "masks", tiny)) == expected);
      tiny.based = false;
      CHECK(logits_of(write_family(folder.path() / "bare", tiny)) == expected);
    }
}

TEST_CASE("A tensor that a family has no place for is refused by its name") {
  for (const char* name : {"h.2.attn.bias", "transformer.h.0.attn.c_attn.scale", "h.0.attn.masked",
                           "transformer.wte.bias", "transformer.h.0.crossattention.c_attn.weight"})
    for (const bool gpt2 : {true, false}) {
      const TemporaryFolder folder;
      const TinyFamily tiny = {.gpt2 = gpt2};
      write_family(folder.path(), tiny);
      std::vector<RawTensor> tensors = tensors_of(tiny);
      tensors.push_back({name, "F32", {1}, encode({1}, "F32")});
      write_safetensors(folder.path() / weights_name, tensors);
      check_refused(folder.path(), name, {name, weights_name});
    }
  // BLOOM has no mask.
  const TemporaryFolder folder;
  const TinyFamily tiny = {.gpt2 = false};
  write_family(folder.path(), tiny);
  std::vector<RawTensor> tensors = tensors_of(tiny);
  tensors.push_back({"transformer.h.0.attn.bias", "U8", {1}, "\1"});
  write_safetensors(folder.path() / weights_name, tensors);
  check_refused(folder.path(), "mask", {"transformer.h.0.attn.bias"});
}

TEST_CASE("Sizes may stand under either of their names, or under both if they agree") {
  struct Row {
    bool gpt2;
    const char *theirs, *ours;
    int64_t value;
  };
  const Row rows[] = {
      {true, "n_embd", "hidden_size", 64},         {true, "n_layer", "num_hidden_layers", 2},
      {true, "n_head", "num_attention_heads", 4},  {true, "n_positions", "max_position_embeddings", 96},
      {true, "n_inner", "intermediate_size", 256}, {false, "n_embed", "hidden_size", 64},
      {false, "n_layer", "num_hidden_layers", 2},  {false, "n_head", "num_attention_heads", 4},
  };
  for (const Row& row : rows) {
    CAPTURE(row.gpt2, row.theirs, row.ours);
    const TemporaryFolder folder;
    const TinyFamily tiny = {.gpt2 = row.gpt2};
    write_family(folder.path(), tiny);
    const auto expected = logits_of(folder.path());
    write_edited(folder.path(), tiny, {{row.theirs, row.value}, {row.ours, ""}});
    CHECK(logits_of(folder.path()) == expected);
    write_edited(folder.path(), tiny, {{row.ours, row.value}, {row.theirs, ""}});
    CHECK(logits_of(folder.path()) == expected);
    write_edited(folder.path(), tiny, {{row.ours, row.value}, {row.theirs, row.value}});
    CHECK(logits_of(folder.path()) == expected);
    write_edited(folder.path(), tiny, {{row.ours, row.value}, {row.theirs, nullptr}});
    CHECK(logits_of(folder.path()) == expected);
    write_edited(folder.path(), tiny, {{row.ours, row.value}, {row.theirs, 2 * row.value}});
    check_refused(folder.path(), "both", {row.ours, row.theirs, config_name});
  }
}

TEST_CASE("Values that do not fit are refused by the name that the file has for them") {
  struct Row {
    bool gpt2;
    json edit;
    std::vector<std::string> names;
  };
  const Row rows[] = {
      {true, {{"n_head", 5}}, {"n_head", "hidden_size"}},
      {false, {{"n_head", 5}}, {"n_head", "hidden_size"}},
      {true, {{"n_head", 64}}, {"head_dim"}},
      {true, {{"n_inner", int64_t{1} << 40}}, {"n_inner", "expected"}},
      {true, {{"n_inner", 128}}, {"mlp.c_fc.weight", "[64, 128]"}},
      {true, {{"n_inner", "x"}}, {"n_inner"}},
      {true, {{"n_embd", ""}}, {"n_embd", "missing"}},
      {true, {{"n_layer", ""}}, {"n_layer", "missing"}},
      {true, {{"n_layer", 3}}, {"h.2.", "missing"}},
      {true, {{"n_layer", 1}}, {"h.1."}},
      {true, {{"n_positions", ""}}, {"wpe.weight", "[1024, 64]"}},
      {true, {{"n_positions", 97}}, {"wpe.weight", "[97, 64]"}},
      {true, {{"n_positions", 0}}, {"n_positions"}},
      {false, {{"hidden_size", ""}}, {"missing"}},
      {false, {{"n_head", ""}}, {"n_head", "missing"}},
      {true, {{"vocab_size", ""}}, {"vocab_size", "missing"}},
      {true, {{"activation_function", "gelu"}}, {"activation_function", "gelu_new"}},
      {true, {{"activation_function", 1}}, {"activation_function"}},
      {false, {{"activation_function", "gelu"}}, {"activation_function"}},
      {true, {{"scale_attn_by_inverse_layer_idx", true}}, {"scale_attn_by_inverse_layer_idx"}},
      {true, {{"scale_attn_weights", false}}, {"scale_attn_weights"}},
      {true, {{"add_cross_attention", true}}, {"add_cross_attention"}},
      {false, {{"apply_residual_connection_post_layernorm", true}}, {"apply_residual"}},
      {true, {{"layer_norm_epsilon", 0}}, {"layer_norm_epsilon"}},
      {false, {{"layer_norm_epsilon", 0}}, {"layer_norm_epsilon"}},
      {true, {{"layer_norm_epsilon", 1e-60}}, {"layer_norm_epsilon"}},
      {false, {{"layer_norm_epsilon", 2}}, {"layer_norm_epsilon"}},
      {true, {{"rms_norm_eps", 1e-5}}, {"rms_norm_eps"}},
      {true, {{"model_type", "bloom"}}, {"model_type"}},
      {true, {{"tie_word_embeddings", false}}, {"lm_head"}},
  };
  for (const Row& row : rows) {
    const TemporaryFolder folder;
    const TinyFamily tiny = {.gpt2 = row.gpt2};
    write_family(folder.path(), tiny);
    write_edited(folder.path(), tiny, row.edit);
    check_refused(folder.path(), row.edit.dump(), row.names);
  }
}

// Hugging Face's code for these families knows neither field, and rows of a fused projection would be taken
// from beyond its end.
TEST_CASE("Fewer key heads or other head sizes are refused, even with tensors to match") {
  for (const bool gpt2 : {true, false})
    for (const json& edit : {json{{"num_key_value_heads", 2}}, json{{"head_dim", 8}}}) {
      const TemporaryFolder folder;
      const TinyFamily tiny = {.gpt2 = gpt2};
      std::vector<RawTensor> tensors = tensors_of(tiny);
      const int64_t head_dim = edit.value("head_dim", 16), kv_heads = edit.value("num_key_value_heads", 4);
      SplitMix64 random(1);
      const auto replace = [&](RawTensor& tensor, int64_t outputs, int64_t inputs) {
        if (tensor.shape.size() == 1)
          tensor = random_tensor(random, tensor.name, "F16", {outputs}, -1, 1);
        else
          tensor = random_tensor(random, tensor.name, "F16",
                                 gpt2 ? std::vector{inputs, outputs} : std::vector{outputs, inputs}, -1, 1);
      };
      for (RawTensor& tensor : tensors) {
        if (tensor.name.find("c_attn") != std::string::npos ||
            tensor.name.find("query_key_value") != std::string::npos)
          replace(tensor, (4 + 2 * kv_heads) * head_dim, 64);
        if (tensor.name.find("attn.c_proj") != std::string::npos ||
            tensor.name.find("attention.dense") != std::string::npos)
          replace(tensor, 64, 4 * head_dim);
      }
      write_family(folder.path(), tiny);
      write_safetensors(folder.path() / weights_name, tensors);
      write_edited(folder.path(), tiny, edit);
      check_refused(folder.path(), edit.dump(), {edit.begin().key(), config_name});
    }
}

TEST_CASE("A context beyond the table of learned positions is refused; ALiBi has no table") {
  const TemporaryFolder folder;
  write_family(folder.path() / "gpt2", {.positions = 24});
  write_family(folder.path() / "bloom", {.gpt2 = false, .positions = 24});
  const Team team(1);
  const std::vector<int32_t> ids(25, 3);
  const Model gpt2(folder.path() / "gpt2", team), bloom(folder.path() / "bloom", team);
  CHECK_NOTHROW(Session(gpt2, team, {.context = 24}).forward(std::span(ids).first(24)));
  CHECK_THROWS_WITH(Session(gpt2, team, {.context = 25}), Contains("25") && Contains("24"));
  CHECK_THROWS_AS(Session(gpt2, team).forward(ids), Error);
  CHECK_NOTHROW(Session(bloom, team, {.context = 25}).forward(ids));
}
