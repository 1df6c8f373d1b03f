#include "engine/architectures.h"

#include <algorithm>
#include <vector>

#include "engine/families/families.h"
#include "engine/files/open_options.h"
#include "kernels/error.h"

namespace whittle {

namespace {

using Fields = std::span<const std::string_view>;

// Every architecture of every family.
std::vector<const Architecture*> all_architectures() {
  std::vector<const Architecture*> all;
  for (const auto family : {llama_family, gpt2_family, bloom_family})
    for (const Architecture& row : family()) all.push_back(&row);
  return all;
}

const Architecture* find_by(std::string_view Architecture::*field, std::string_view value) {
  const std::vector<const Architecture*> all = all_architectures();
  const auto found = std::ranges::find_if(all, [&](const Architecture* row) { return row->*field == value; });
  return found == all.end() ? nullptr : *found;
}

// Read for every architecture.
constexpr std::string_view common_fields[] = {
    "architectures",       "model_type",
    "hidden_size",         "intermediate_size",
    "num_hidden_layers",   "num_attention_heads",
    "num_key_value_heads", "head_dim",
    "vocab_size",          "max_position_embeddings",
    "tie_word_embeddings", "bos_token_id",
    "eos_token_id",        "quantization_config",
    layer_shapes_field,
};

// Training, generation defaults, tokens, bookkeeping, and how other programs run the model.
constexpr std::string_view harmless_fields[] = {
    "activation_checkpointing",
    "attention_dropout",
    "attention_probs_dropout_prob",
    "attention_softmax_in_fp32",
    "attn_dropout",
    "attn_impl",
    "attn_implementation",
    "attn_pdrop",
    "author",
    "auto_map",
    "bad_words_ids",
    "base_model",
    "begin_suppress_tokens",
    "bf16",
    "bos_token",
    "cache_implementation",
    "chat_template",
    "chunk_size_feed_forward",
    "classifier_dropout",
    "cls_token",
    "cls_token_id",
    "constraints",
    "cutoff_len",
    "dataset",
    "datasets",
    "decoder_start_token_id",
    "description",
    "diversity_penalty",
    "do_sample",
    "dropout",
    "dtype",
    "early_stopping",
    "embd_dropout",
    "embd_pdrop",
    "encoder_no_repeat_ngram_size",
    "eos_token",
    "epsilon_cutoff",
    "eta_cutoff",
    "exponential_decay_length_penalty",
    "ffn_dropout",
    "finetuning_task",
    "flash_attention",
    "force_words_ids",
    "forced_bos_token_id",
    "forced_decoder_ids",
    "forced_eos_token_id",
    "fp16",
    "fp32",
    "fused_cross_entropy",
    "gradient_checkpointing",
    "gradient_checkpointing_kwargs",
    "guidance_scale",
    "hidden_dropout",
    "hidden_dropout_prob",
    "id2label",
    "initializer_factor",
    "initializer_range",
    "is_composition",
    "is_decoder",
    "is_llama_config",
    "keys_to_ignore_at_inference",
    "label2id",
    "label_smoothing",
    "language",
    "layerdrop",
    "length_penalty",
    "library_name",
    "license",
    "logits_to_keep",
    "loss_type",
    "low_memory",
    "lr",
    "max_length",
    "max_new_tokens",
    "max_sequence_length",
    "max_time",
    "min_length",
    "min_new_tokens",
    "mlp_dropout",
    "model_max_length",
    "model_name",
    "name_or_path",
    "neftune_noise_alpha",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_labels",
    "num_logits_to_keep",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_logits",
    "output_past",
    "output_scores",
    "pad_token",
    "pad_token_id",
    "padding_side",
    "penalty_alpha",
    "pipeline_tag",
    "prefix",
    "pretraining_tp",
    "problem_type",
    "remove_invalid_values",
    "renormalize_logits",
    "repetition_penalty",
    "resid_dropout",
    "resid_pdrop",
    "residual_dropout",
    "return_dict",
    "return_dict_in_generate",
    "seed",
    "sep_token",
    "sep_token_id",
    "seq_length",
    "sequence_bias",
    "softmax_in_fp32",
    "stop_strings",
    "suppress_tokens",
    "tags",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tokenizer_class",
    "tokenizer_name",
    "top_k",
    "top_p",
    "torch_compile",
    "torch_dtype",
    "torchscript",
    "train_batch_size",
    "training_args",
    "transformers.js_config",
    "transformers_version",
    "trust_remote_code",
    "typical_p",
    "unk_token",
    "unk_token_id",
    "unsloth_fixed",
    "unsloth_version",
    "use_bfloat16",
    "use_cache",
    "use_flash_attention",
    "use_flash_attention_2",
    "use_flash_attn",
    "use_flash_attn_2",
    "use_gradient_checkpointing",
    "use_liger_kernel",
    "use_return_dict",
    "use_sdpa",
    "watermarking_config",
    "weight_decay",
};

// Fields that change the computation unless they have this value.
struct NeutralValue {
  std::string_view field, json;
};
constexpr NeutralValue neutral_values[] = {
    {"add_cross_attention", "false"}, {"attention_bias", "false"},
    {"is_encoder_decoder", "false"},  {"mlp_bias", "false"},
    {"partial_rotary_factor", "1.0"}, {"pruned_heads", "{}"},
    {"qk_layernorm", "false"},        {"rope_interleaved", "false"},
    {"tie_encoder_decoder", "false"}, {"use_mrope", "false"},
    {"use_sliding_window", "false"},  {"alibi", "false"},
    {"parallel_attn", "false"},       {"rotary_pct", "1.0"},
    {"scale_attn_weights", "true"},   {"use_dynamic_ntk", "false"},
    {"use_logn_attn", "false"},       {"use_qk_norm", "false"},
};

// Older names of hidden_act, which may stand beside it.
constexpr std::string_view activation_fields[] = {"activation", "activation_function", "hidden_activation"};

bool has(Fields fields, std::string_view field) { return std::ranges::find(fields, field) != fields.end(); }

void check_fields(const JsonFields& config, const Architecture& architecture) {
  for (const auto& [field, value] : config.object().items()) {
    const Family& family = architecture.family;
    const bool alias = std::ranges::find(family.aliases, field, &FieldAlias::second) != family.aliases.end();
    if (value.is_null() || field.starts_with('_') || alias || has(common_fields, field) ||
        has(harmless_fields, field) || has(family.fields, field) || has(architecture.fields, field)) {
      continue;
    }
    if (has(activation_fields, field) && value == config.string("hidden_act", "silu")) continue;
    const auto neutral = std::ranges::find(neutral_values, field, &NeutralValue::field);
    if (neutral == std::end(neutral_values)) {
      if (allowed_fields().contains(field)) continue;
      config.reject(field.c_str(),
                    fmt::format("unknown for model_type {}, and it may change the computation; "
                                "where it does not, allow it by its name or take it out",
                                quote(architecture.model_type)));
    }
    if (value != nlohmann::json::parse(neutral->json)) {
      config.reject(field.c_str(), fmt::format("expected {} for model_type {}, found {}", neutral->json,
                                               quote(architecture.model_type), json_text(value)));
    }
  }
}

std::string known_names() {
  std::string names;
  for (const Architecture* row : all_architectures())
    names += (names.empty() ? "" : ", ") + std::string(row->name);
  return names;
}

}  // namespace

const Architecture& find_architecture(const JsonFields& config) {
  const nlohmann::json& names = config.at("architectures");
  if (!names.is_array() || names.size() != 1 || !names[0].is_string()) {
    config.reject("architectures", "expected an array with one name");
  }
  const auto& name = names[0].get_ref<const std::string&>();
  const Architecture* found = find_by(&Architecture::name, name);
  if (!found) {
    config.reject("architectures",
                  fmt::format("{} is not supported, expected one of {}", quote(name), known_names()));
  }
  if (const auto type = config.string("model_type"); type != found->model_type) {
    config.reject("model_type",
                  fmt::format("expected {} with {}, found {}", quote(found->model_type), name, quote(type)));
  }
  check_fields(config, *found);
  return *found;
}

const Architecture& find_architecture(std::string_view model_type) {
  const Architecture* found = find_by(&Architecture::model_type, model_type);
  if (!found) fail("model_type {} is not supported", quote(model_type));
  return *found;
}

nlohmann::json with_common_names(const JsonFields& config, const Architecture& architecture) {
  nlohmann::json named = config.object();
  for (const auto& [common, alias] : architecture.family.aliases) {
    const std::string theirs(alias), ours(common);
    if (!config.has(theirs.c_str())) continue;
    if (config.has(ours.c_str()) && named[ours] != named[theirs])
      config.reject(theirs.c_str(), "differs from " + ours);
    named[ours] = named[theirs];
  }
  return named;
}

FieldNames alias_names(const JsonFields& config, const Architecture& architecture) {
  FieldNames names;
  for (const auto& [common, alias] : architecture.family.aliases)
    if (!config.has(std::string(common).c_str())) names.emplace(common, alias);
  return names;
}

std::vector<std::string> embedding_names() {
  std::vector<std::string> names;
  for (const Architecture* row : all_architectures())
    for (const auto& [role, name] : row->family.names.modules)
      if (info(role).kind == ModuleKind::embedding)
        for (const std::string_view base : {row->family.names.base, std::string_view()})
          names.push_back(fmt::format("{}{}", base, name));
  return names;
}

std::set<std::string, std::less<>> buffer_names(const ModelSpec& spec) {
  const Family& family = find_architecture(spec.model_type).family;
  std::set<std::string, std::less<>> names;
  for (const std::string_view base : {family.names.base, std::string_view()})
    for (const std::string_view buffer : family.buffers) {
      names.insert(fmt::format("{}{}", base, buffer));
      for (int64_t layer = 0; layer < spec.num_hidden_layers; ++layer)
        names.insert(fmt::format("{}{}{}.{}", base, family.names.layers, layer, buffer));
    }
  return names;
}

}  // namespace whittle
