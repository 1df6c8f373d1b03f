// BLOOM (Workshop et al., 2022): ALiBi in place of positions, a norm after the embedding, and q, k and v of
// each head side by side.

#include "engine/families/families.h"
#include "engine/families/fields.h"

namespace whittle {
namespace {

constexpr std::pair<Role, std::string_view> modules[] = {
    {Role::embedding, "word_embeddings"},
    {Role::embedding_norm, "word_embeddings_layernorm"},
    {Role::attention_norm, "input_layernorm"},
    {Role::qkv, "self_attention.query_key_value"},
    {Role::o, "self_attention.dense"},
    {Role::mlp_norm, "post_attention_layernorm"},
    {Role::up, "mlp.dense_h_to_4h"},
    {Role::down, "mlp.dense_4h_to_h"},
    {Role::final_norm, "ln_f"},
    {Role::head, "lm_head"},
};
constexpr FieldAlias aliases[] = {
    {"hidden_size", "n_embed"},
    {"num_hidden_layers", "n_layer"},
    {"num_attention_heads", "n_head"},
    {"max_position_embeddings", "seq_length"},
};
// Those that Hugging Face's code reads, and those that it ignores or that choose between equal computations.
constexpr std::string_view fields[] = {
    "layer_norm_epsilon",
    "apply_residual_connection_post_layernorm",
    "n_inner",
    "offset_alibi",
    "slow_but_exact",
    "attention_softmax_in_fp32",
    "masked_softmax_fusion",
    "bias_dropout_fusion",
    "skip_bias_add",
    "skip_bias_add_qkv",
    "unk_token_id",
};
constexpr Family family = {{"transformer.", "h.", modules}, fields, aliases, {}};

void read_bloom(const JsonFields& config, ModelSpec& spec) {
  must_have_plain_heads(config, spec);
  must_be(config, "apply_residual_connection_post_layernorm", false);
  spec.norm = NormType::layer;
  spec.norm_eps = read_epsilon(config, "layer_norm_epsilon", 1e-5);
  spec.embedding_norm = true;
  spec.positions = Positions::alibi;
  spec.qkv_layout = QkvLayout::by_head;
  spec.qkv_bias = spec.attention_output_bias = spec.mlp_bias = true;
  spec.gated_mlp = false;
  spec.activation = Activation::gelu_tanh;
}

constexpr Architecture rows[] = {
    {"BloomForCausalLM",
     "bloom",
     {.max_position_embeddings = 2048, .intermediate_factor = 4, .tie_word_embeddings = true},
     read_bloom,
     {},
     family},
};

}  // namespace

std::span<const Architecture> bloom_family() { return rows; }

}  // namespace whittle
