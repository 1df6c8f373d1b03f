#include "engine/architectures.h"

#include <algorithm>
#include <vector>

#include "engine/families/families.h"
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
};

// Training, generation defaults, bookkeeping, and how other programs run the model.
constexpr std::string_view harmless_fields[] = {
    "attention_dropout",
    "attn_implementation",
    "auto_map",
    "bad_words_ids",
    "begin_suppress_tokens",
    "chunk_size_feed_forward",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "dtype",
    "early_stopping",
    "embd_pdrop",
    "encoder_no_repeat_ngram_size",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "hidden_dropout",
    "id2label",
    "initializer_range",
    "is_decoder",
    "is_llama_config",
    "label2id",
    "length_penalty",
    "max_length",
    "max_sequence_length",
    "min_length",
    "model_max_length",
    "name_or_path",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "pad_token_id",
    "prefix",
    "pretraining_tp",
    "problem_type",
    "remove_invalid_values",
    "repetition_penalty",
    "resid_pdrop",
    "residual_dropout",
    "return_dict",
    "return_dict_in_generate",
    "sep_token_id",
    "seq_length",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torch_dtype",
    "torchscript",
    "transformers.js_config",
    "transformers_version",
    "typical_p",
    "unsloth_fixed",
    "unsloth_version",
    "use_bfloat16",
    "use_cache",
    "use_flash_attn",
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
    {"use_sliding_window", "false"},
};

bool has(Fields fields, std::string_view field) { return std::ranges::find(fields, field) != fields.end(); }

void check_fields(const JsonFields& config, const Architecture& architecture) {
  for (const auto& [field, value] : config.object().items()) {
    const Family& family = architecture.family;
    const bool alias = std::ranges::find(family.aliases, field, &FieldAlias::second) != family.aliases.end();
    if (value.is_null() || field.starts_with('_') || alias || has(common_fields, field) ||
        has(harmless_fields, field) || has(family.fields, field) || has(architecture.fields, field)) {
      continue;
    }
    const auto neutral = std::ranges::find(neutral_values, field, &NeutralValue::field);
    if (neutral == std::end(neutral_values)) {
      config.reject(
          field.c_str(),
          fmt::format("unknown for model_type {}, and it may change the computation; where it does not, "
                      "take it out of the file",
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

}  // namespace whittle
