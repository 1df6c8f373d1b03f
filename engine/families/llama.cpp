// Llama and what differs from it by a field or two: Mistral, Qwen2, Qwen3.

#include <algorithm>

#include "engine/families/families.h"
#include "engine/families/fields.h"
#include "kernels/error.h"

namespace whittle {
namespace {

constexpr std::pair<Role, std::string_view> modules[] = {
    {Role::embedding, "embed_tokens"},
    {Role::attention_norm, "input_layernorm"},
    {Role::q, "self_attn.q_proj"},
    {Role::k, "self_attn.k_proj"},
    {Role::v, "self_attn.v_proj"},
    {Role::q_norm, "self_attn.q_norm"},
    {Role::k_norm, "self_attn.k_norm"},
    {Role::o, "self_attn.o_proj"},
    {Role::mlp_norm, "post_attention_layernorm"},
    {Role::gate, "mlp.gate_proj"},
    {Role::up, "mlp.up_proj"},
    {Role::down, "mlp.down_proj"},
    {Role::final_norm, "norm"},
    {Role::head, "lm_head"},
};
constexpr std::string_view buffers[] = {"self_attn.rotary_emb.inv_freq", "rotary_emb.inv_freq"};

constexpr int64_t max_window = int64_t{1} << 31;
constexpr int64_t default_window = 4096;

// Null: no window. Left out: Hugging Face's default.
int64_t read_window(const JsonFields& config) {
  if (!config.object().contains("sliding_window")) return default_window;
  return config.integer("sliding_window", 1, max_window, 0);
}

// "layer_types" says layer by layer what max_window_layers says in a number.
int64_t read_full_layers(const JsonFields& config, int64_t layers) {
  const nlohmann::json& types = config.at("layer_types");
  if (!types.is_array() || static_cast<int64_t>(types.size()) != layers) {
    config.reject("layer_types", fmt::format("expected an array of num_hidden_layers = {} names", layers));
  }
  const auto is_full = [](const nlohmann::json& type) { return type == "full_attention"; };
  const auto is_sliding = [](const nlohmann::json& type) { return type == "sliding_attention"; };
  const auto first = std::ranges::find_if_not(types, is_full);
  if (!std::all_of(first, types.end(), is_sliding)) {
    config.reject("layer_types",
                  "expected \"full_attention\" layers, then \"sliding_attention\" ones; other orders are not "
                  "supported");
  }
  return first - types.begin();
}

// What all of this family have.
void read_common(const JsonFields& config, ModelSpec& spec) {
  spec.norm_eps = read_epsilon(config, "rms_norm_eps", 1e-6);
  spec.activation = read_activation(config, "hidden_act", {"silu", "swish"});
  read_rope(config, spec);
}

void read_llama(const JsonFields& config, ModelSpec& spec) {
  read_common(config, spec);
  spec.qkv_bias = spec.attention_output_bias = config.boolean("attention_bias", false);
  spec.mlp_bias = config.boolean("mlp_bias", false);
}

void read_mistral(const JsonFields& config, ModelSpec& spec) {
  read_common(config, spec);
  spec.sliding_window = read_window(config);
}

void read_qwen2(const JsonFields& config, ModelSpec& spec) {
  read_common(config, spec);
  spec.qkv_bias = true;
  if (config.boolean("use_sliding_window", false)) spec.sliding_window = read_window(config);
  spec.max_window_layers = config.integer("max_window_layers", 0, max_window, 28);
  if (config.has("layer_types")) {
    spec.max_window_layers = read_full_layers(config, spec.num_hidden_layers);
    if (spec.sliding_window == 0 && spec.max_window_layers != spec.num_hidden_layers) {
      config.reject("layer_types", "\"sliding_attention\" without use_sliding_window and sliding_window");
    }
  }
}

void read_qwen3(const JsonFields& config, ModelSpec& spec) {
  read_qwen2(config, spec);
  spec.qkv_bias = spec.attention_output_bias = config.boolean("attention_bias", false);
  spec.qk_norm = true;
}

constexpr std::string_view family_fields[] = {"rms_norm_eps", "hidden_act", "rope_theta", "rope_scaling",
                                              "rope_parameters"};
constexpr Family family = {{"model.", "layers.", modules}, family_fields, {}, buffers};

constexpr std::string_view llama_fields[] = {"attention_bias", "mlp_bias"};
constexpr std::string_view mistral_fields[] = {"sliding_window"};
constexpr std::string_view qwen2_fields[] = {"use_sliding_window", "sliding_window", "max_window_layers",
                                             "layer_types"};
constexpr std::string_view qwen3_fields[] = {"use_sliding_window", "sliding_window", "max_window_layers",
                                             "layer_types", "attention_bias"};

constexpr Architecture rows[] = {
    {"LlamaForCausalLM", "llama", {2048}, read_llama, llama_fields, family},
    {"MistralForCausalLM", "mistral", {131072, 8}, read_mistral, mistral_fields, family},
    {"Qwen2ForCausalLM", "qwen2", {32768, 32}, read_qwen2, qwen2_fields, family},
    {"Qwen3ForCausalLM", "qwen3", {32768, 32, 128}, read_qwen3, qwen3_fields, family},
};

}  // namespace

std::span<const Architecture> llama_family() { return rows; }

}  // namespace whittle
