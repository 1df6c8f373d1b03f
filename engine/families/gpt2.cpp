// GPT-2 (Radford et al., 2019): learned positions, LayerNorm, a plain MLP, and linears that its checkpoints
// hold as [inputs, outputs].

#include "engine/families/families.h"
#include "engine/families/fields.h"

namespace whittle {
namespace {

constexpr std::pair<Role, std::string_view> modules[] = {
    {Role::embedding, "wte"},   {Role::position_embedding, "wpe"}, {Role::attention_norm, "ln_1"},
    {Role::qkv, "attn.c_attn"}, {Role::o, "attn.c_proj"},          {Role::mlp_norm, "ln_2"},
    {Role::up, "mlp.c_fc"},     {Role::down, "mlp.c_proj"},        {Role::final_norm, "ln_f"},
    {Role::head, "lm_head"},
};
constexpr FieldAlias aliases[] = {
    {"hidden_size", "n_embd"},         {"num_hidden_layers", "n_layer"},
    {"num_attention_heads", "n_head"}, {"max_position_embeddings", "n_positions"},
    {"intermediate_size", "n_inner"},
};
// The causal mask.
constexpr std::string_view buffers[] = {"attn.bias", "attn.masked_bias"};
constexpr std::string_view fields[] = {
    "layer_norm_epsilon",
    "activation_function",
    "scale_attn_weights",
    "scale_attn_by_inverse_layer_idx",
    "n_ctx",
    "reorder_and_upcast_attn",
    "attn_pdrop",
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
};
constexpr Family family = {{"transformer.", "h.", modules}, fields, aliases, buffers};

void read_gpt2(const JsonFields& config, ModelSpec& spec) {
  must_have_plain_heads(config, spec);
  must_be(config, "scale_attn_weights", true);
  must_be(config, "scale_attn_by_inverse_layer_idx", false);
  spec.norm = NormType::layer;
  spec.norm_eps = read_epsilon(config, "layer_norm_epsilon", 1e-5);
  spec.positions = Positions::learned;
  spec.qkv_layout = QkvLayout::by_part;
  spec.qkv_bias = spec.attention_output_bias = spec.mlp_bias = true;
  spec.gated_mlp = false;
  spec.activation =
      read_activation(config, "activation_function", {"gelu_new", "gelu_pytorch_tanh", "gelu_fast"});
  spec.conv1d = true;
}

constexpr Architecture rows[] = {
    {"GPT2LMHeadModel",
     "gpt2",
     {.max_position_embeddings = 1024, .intermediate_factor = 4, .tie_word_embeddings = true},
     read_gpt2,
     {},
     family},
};

}  // namespace

std::span<const Architecture> gpt2_family() { return rows; }

}  // namespace whittle
