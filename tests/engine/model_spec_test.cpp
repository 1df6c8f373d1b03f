#include "engine/model_spec.h"

#include <catch2/catch.hpp>

#include "engine/files/model_file.h"
#include "engine/files/open_options.h"
#include "engine/inventory.h"
#include "kernels/error.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_model.h"

using namespace whittle;
using namespace whittle::test;
using Catch::Matchers::Contains;
using nlohmann::json;

namespace {

// The spec of a tiny model whose config.json is changed by `edit`: its fields replace those of the config.
ModelSpec spec_with(const json& edit, const TinyModel& model = {}) {
  TemporaryFolder folder;
  write_tiny_model(folder.path(), model);
  json config = config_of(model);
  config.update(edit);
  write_text(folder.path() / "config.json", config.dump());
  return read_model_spec(ModelFile(folder.path()));
}

ModelSpec spec_without(const std::string& field, const TinyModel& model) {
  TemporaryFolder folder;
  write_tiny_model(folder.path(), model);
  json config = config_of(model);
  config.erase(field);
  write_text(folder.path() / "config.json", config.dump());
  return read_model_spec(ModelFile(folder.path()));
}

TinyModel tiny(const std::string& architecture) {
  TinyModel model;
  model.architecture = architecture;
  return model;
}

}  // namespace

TEST_CASE("every architecture reads a plain config") {
  struct Row {
    std::string name, type;
    bool qkv_bias, qk_norm;
  };
  for (const Row& row :
       {Row{"LlamaForCausalLM", "llama", false, false}, Row{"MistralForCausalLM", "mistral", false, false},
        Row{"Qwen2ForCausalLM", "qwen2", true, false}, Row{"Qwen3ForCausalLM", "qwen3", false, true}}) {
    INFO(row.name);
    const ModelSpec spec = spec_with(json::object(), tiny(row.name));
    CHECK(spec.model_type == row.type);
    CHECK(spec.qkv_bias == row.qkv_bias);
    CHECK(spec.qk_norm == row.qk_norm);
    CHECK_FALSE(spec.attention_output_bias);
    CHECK(spec.sliding_window == 0);
    CHECK(spec.hidden_size == 8);
    CHECK(spec.kv_size() == 4);
    CHECK(spec.rope_theta == 10000);
    CHECK(spec.bos_token_id == 0);
    CHECK(spec.eos_token_ids == std::vector<int32_t>{1});
  }
}

TEST_CASE("fields that config.json may leave out take Hugging Face's values") {
  TinyModel model;
  model.num_key_value_heads = 2;  // absent: as many as query heads
  CHECK(spec_without("num_key_value_heads", model).num_key_value_heads == 2);
  CHECK(spec_without("head_dim", model).head_dim == 4);
  CHECK(spec_without("rope_theta", model).rope_theta == 10000);
  CHECK(spec_without("rms_norm_eps", model).norm_eps == 1e-6f);
  CHECK(spec_without("max_position_embeddings", model).max_position_embeddings == 2048);
  CHECK(spec_without("bos_token_id", model).bos_token_id == -1);
  CHECK(spec_without("eos_token_id", model).eos_token_ids.empty());
  CHECK(spec_without("sliding_window", tiny("MistralForCausalLM")).sliding_window == 4096);
  TinyModel untied;
  untied.tied = false;
  CHECK_FALSE(spec_without("tie_word_embeddings", untied).tie_word_embeddings);
}

TEST_CASE("biases of Llama and Qwen3") {
  TinyModel model;
  model.attention_bias = true;
  ModelSpec spec = spec_with(json::object(), model);
  CHECK(spec.qkv_bias);
  CHECK(spec.attention_output_bias);
  CHECK_FALSE(spec.mlp_bias);
  model.mlp_bias = true;
  CHECK(spec_with(json::object(), model).mlp_bias);
  model = tiny("Qwen3ForCausalLM");
  model.attention_bias = true;
  CHECK(spec_with(json::object(), model).attention_output_bias);
}

TEST_CASE("rope scaling under its three spellings") {
  const json llama3 = {{"factor", 8.0},
                       {"low_freq_factor", 1.0},
                       {"high_freq_factor", 4.0},
                       {"original_max_position_embeddings", 8192}};
  json by_rope_type = llama3, by_type = llama3, parameters = llama3;
  by_rope_type["rope_type"] = "llama3";
  by_type["type"] = "llama3";
  parameters["rope_type"] = "llama3";
  parameters["rope_theta"] = 500000.0;
  for (const json& edit :
       {json{{"rope_scaling", by_rope_type}, {"rope_theta", 500000.0}},
        json{{"rope_scaling", by_type}, {"rope_theta", 500000}}, json{{"rope_parameters", parameters}}}) {
    const ModelSpec spec = spec_with(edit);
    CHECK(spec.rope_scaling.type == RopeScalingType::llama3);
    CHECK(spec.rope_scaling.factor == 8);
    CHECK(spec.rope_scaling.low_freq_factor == 1);
    CHECK(spec.rope_scaling.high_freq_factor == 4);
    CHECK(spec.rope_scaling.original_max_position_embeddings == 8192);
    CHECK(spec.rope_theta == 500000);
  }
  const ModelSpec linear = spec_with({{"rope_scaling", {{"type", "linear"}, {"factor", 2.5}}}});
  CHECK(linear.rope_scaling.type == RopeScalingType::linear);
  CHECK(linear.rope_scaling.factor == 2.5);
  CHECK(spec_with({{"rope_scaling", {{"rope_type", "default"}}}}).rope_scaling.type == RopeScalingType::none);
  CHECK(spec_with({{"rope_scaling", nullptr}}).rope_scaling.type == RopeScalingType::none);
}

TEST_CASE("sliding windows") {
  CHECK(spec_with({{"sliding_window", 32}}, tiny("MistralForCausalLM")).sliding_window == 32);
  const TinyModel qwen2 = tiny("Qwen2ForCausalLM");
  CHECK(spec_with({{"sliding_window", 32}, {"use_sliding_window", false}}, qwen2).sliding_window == 0);
  ModelSpec spec =
      spec_with({{"sliding_window", 32}, {"use_sliding_window", true}, {"max_window_layers", 1}}, qwen2);
  CHECK(spec.sliding_window == 32);
  CHECK(spec.max_window_layers == 1);
  spec = spec_with({{"sliding_window", 32},
                    {"use_sliding_window", true},
                    {"layer_types", {"full_attention", "sliding_attention"}}},
                   qwen2);
  CHECK(spec.max_window_layers == 1);
  CHECK(spec_with({{"layer_types", {"full_attention", "full_attention"}}}, qwen2).sliding_window == 0);
  CHECK_THROWS_WITH(spec_with({{"layer_types", {"full_attention", "sliding_attention"}}}, qwen2),
                    Contains("layer_types"));
  CHECK_THROWS_WITH(spec_with({{"sliding_window", 32},
                               {"use_sliding_window", true},
                               {"layer_types", {"sliding_attention", "full_attention"}}},
                              qwen2),
                    Contains("layer_types"));
}

TEST_CASE("the end of a text is what generation_config.json says") {
  TemporaryFolder folder;
  write_tiny_model(folder.path());
  write_text(folder.path() / "generation_config.json", R"({"eos_token_id": [3, 5]})");
  CHECK(read_model_spec(ModelFile(folder.path())).eos_token_ids == std::vector<int32_t>{3, 5});
  write_text(folder.path() / "generation_config.json", R"({"temperature": 1})");
  CHECK(read_model_spec(ModelFile(folder.path())).eos_token_ids == std::vector<int32_t>{1});
}

TEST_CASE("tied embeddings lie under either name") {
  for (const std::string name : {"model.embed_tokens", "lm_head"}) {
    TemporaryFolder folder;
    TinyModel model;
    model.tied_name = name;
    write_tiny_model(folder.path(), model);
    const ModelFile file(folder.path());
    const Inventory inventory = inventory_of(file, read_model_spec(file));
    CHECK(inventory.tied());
    CHECK(inventory.embedding().name == name);
    CHECK(inventory.head().name == name);
  }
  // Both are there although the config says tied: Hugging Face takes embed_tokens.
  TemporaryFolder folder;
  TinyModel model;
  model.tied = false;
  write_tiny_model(folder.path(), model);
  {
    const ModelFile file(folder.path());
    const Inventory inventory = inventory_of(file, read_model_spec(file));
    CHECK_FALSE(inventory.tied());
    CHECK(inventory.embedding().name == "model.embed_tokens");
    CHECK(inventory.head().name == "lm_head");
  }
  json config = config_of(model);
  config["tie_word_embeddings"] = true;
  write_text(folder.path() / "config.json", config.dump());
  const ModelFile file(folder.path());
  CHECK(inventory_of(file, read_model_spec(file)).head().name == "model.embed_tokens");
}

TEST_CASE("harmless fields pass, others do not") {
  const json harmless = {{"_name_or_path", "x"},     {"_attn_implementation", "sdpa"},
                         {"torch_dtype", "float16"}, {"use_cache", true},
                         {"pretraining_tp", 4},      {"attention_dropout", 0.1},
                         {"id2label", {{"0", "a"}}}, {"rope_interleaved", false},
                         {"is_llama_config", true},  {"partial_rotary_factor", 1},
                         {"num_experts", nullptr},   {"gradient_checkpointing", false},
                         {"pad_token", "<pad>"},     {"neftune_noise_alpha", 5},
                         {"activation", "silu"},     {"activation_function", "silu"},
                         {"use_qk_norm", false}};
  CHECK_NOTHROW(spec_with(harmless));
  const std::pair<const char*, json> harmful[] = {
      {"attn_logit_softcapping", 50.0}, {"num_experts", 8},    {"partial_rotary_factor", 0.5},
      {"rope_interleaved", true},       {"some_new_trick", 1}, {"sliding_window", 32},
      {"activation_function", "gelu"},  {"use_qk_norm", true}};
  for (const auto& [field, value] : harmful) {
    INFO(field);
    CHECK_THROWS_WITH(spec_with({{field, value}}), Contains("config.json") && Contains(field));
  }
}

TEST_CASE("a field that the user vouches for passes, unless it is known to change the computation") {
  const std::string name = "field_of_a_test";
  CHECK_THROWS_WITH(spec_with({{name, 1}}), Contains(name) && Contains("allow it by its name"));
  allow_field(name);
  allow_field("rope_interleaved");
  CHECK_NOTHROW(spec_with({{name, 1}}));
  CHECK_THROWS_WITH(spec_with({{"rope_interleaved", true}}), Contains("rope_interleaved"));
}

TEST_CASE("RoPE's frequencies may stand in the file, under the names that real files have") {
  const auto load = [](const std::string& name) {
    TemporaryFolder folder;
    write_tiny_model(folder.path());
    std::vector<RawTensor> tensors = tensors_of({});
    tensors.push_back({name, "F32", {2}, std::string(8, '\0')});
    write_safetensors(folder.path() / "model.safetensors", tensors);
    read_model_spec(ModelFile(folder.path()));
  };
  CHECK_NOTHROW(load("model.layers.1.self_attn.rotary_emb.inv_freq"));
  CHECK_NOTHROW(load("model.rotary_emb.inv_freq"));
  for (const std::string name :
       {"model.layers.2.self_attn.rotary_emb.inv_freq", "model.layers.01.self_attn.rotary_emb.inv_freq",
        "\x1b[2J\n.inv_freq", "inv_freq", "lm_head.\x1b[2J", "lm_head.inv_freq"})
    CHECK_THROWS_WITH(load(name), Contains("no place") && !Contains("\x1b"));
}

TEST_CASE("a tensor without a place in the computation is an error") {
  TinyModel model;
  model.attention_bias = true;
  CHECK_THROWS_WITH(spec_with({{"attention_bias", false}}, model),
                    Contains("model.safetensors") && Contains("bias"));
  CHECK_THROWS_WITH(spec_with({{"num_hidden_layers", 1}}), Contains("model.layers.1."));
  CHECK_THROWS_WITH(spec_with({{"num_hidden_layers", 3}}), Contains("model.layers.2."));
  CHECK_THROWS_WITH(spec_with({{"tie_word_embeddings", false}}), Contains("lm_head.weight"));
}

TEST_CASE("the reference model and its tensors") {
  const ModelFile file(reference_model());
  const ModelSpec spec = read_model_spec(file);
  CHECK(spec.hidden_size == 256);
  CHECK(spec.num_hidden_layers == 8);
  CHECK(spec.num_key_value_heads == 4);
  CHECK(spec.head_dim == 32);
  CHECK(spec.tie_word_embeddings);
  CHECK(spec.bos_token_id == 0);
  const Inventory inventory = inventory_of(file, spec);
  CHECK(file.weight(inventory.head().name, 4096, 256).format == WeightFormat::f16);
  CHECK(file.vector("model.norm.weight", 256).size() == 256);
  for (const Module& module : inventory.layer(7))
    if (module.matrix()) CHECK_NOTHROW(file.weight(module.name, module.rows, module.cols));
}

TEST_CASE("a model that stores only lm_head") {
  WHITTLE_NEEDS_SHARED(shared);
  const ModelFile file(shared / "data" / "models" / "tinystories-656k");
  const ModelSpec spec = read_model_spec(file);
  CHECK(spec.num_hidden_layers == 2);
  const Inventory inventory = inventory_of(file, spec);
  CHECK(inventory.embedding().name == "lm_head");
  CHECK(file.weight("lm_head", 2048, 128).format == WeightFormat::f32);
  for (const Module& module : inventory.layer(1))
    if (module.matrix()) CHECK_NOTHROW(file.weight(module.name, module.rows, module.cols));
}
