#include "engine/files/quantization_fields.h"

#include <algorithm>
#include <iterator>

#include "engine/files/open_options.h"

namespace whittle {

namespace {

// How weights were found, by whom and from what, and how other programs run them.
constexpr std::string_view harmless_fields[] = {
    "act_group_aware",
    "amp",
    "autoround_version",
    "batch_size",
    "block_name_to_quantize",
    "cache_block_outputs",
    "damp_auto_increment",
    "damp_percent",
    "dataset",
    "disable_exllama",
    "do_fuse",
    "enable_alg_ext",
    "enable_minmax_tuning",
    "enable_norm_bias_tuning",
    "enable_quanted_input",
    "exllama_config",
    "fuse_max_seq_len",
    "gradient_accumulate_steps",
    "iters",
    "lm_head",  // the tensors say
    "low_cpu_mem_usage",
    "low_gpu_mem_usage",
    "lr",
    "max_input_length",
    "meta",
    "minmax_lr",
    "model_file_base_name",
    "model_name_or_path",
    "model_seqlen",
    "module_name_preceding_first_block",
    "modules_in_block_to_quantize",
    "modules_to_fuse",
    "modules_to_not_convert",  // the tensors say
    "mse",
    "nsamples",
    "pad_token_id",
    "provider",
    "quant_block_list",
    "seqlen",
    "static_groups",
    "to_quant_block_names",
    "tokenizer",
    "true_sequential",
    "use_cuda_fp16",
    "use_exllama",
};

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 'a' - 'A') : c; });
  return text;
}

}  // namespace

void only_these(const JsonFields& fields, std::initializer_list<std::string_view> known) {
  for (const auto& [key, value] : fields.object().items()) {
    if (std::ranges::find(known, key) == known.end() && !value.is_null()) {
      fields.reject(key.c_str(), "not supported: it may change what the weights mean");
    }
  }
}

void must_be_empty(const JsonFields& fields, const char* field) {
  if (fields.has(field) && !fields.at(field).empty()) fields.reject(field, "not supported");
}

void check_word_packed_fields(const JsonFields& fields, std::initializer_list<std::string_view> known) {
  for (const auto& [key, value] : fields.object().items()) {
    if (value.is_null() || std::ranges::find(known, key) != known.end() ||
        std::ranges::find(harmless_fields, key) != std::end(harmless_fields) ||
        allowed_fields().contains(key))
      continue;
    fields.reject(key.c_str(),
                  "not supported: it may change what the weights mean; where it does not, allow it by its "
                  "name or take it out");
  }
}

void check_choice(const JsonFields& fields, const char* field,
                  std::initializer_list<std::string_view> expected) {
  if (!fields.has(field)) return;
  const std::string found = fields.string(field);
  if (std::ranges::find(expected, lower(found)) != expected.end()) return;
  std::string names;
  for (const std::string_view name : expected) names += (names.empty() ? "" : " or ") + quote(name);
  fields.reject(field, quote(found) + " is not supported, expected " + names);
}

void read_word_packed_group_size(const JsonFields& fields, QuantizationScheme& scheme) {
  const int64_t size = fields.integer("group_size", -1, max_group_size);
  if (size == 0) fields.reject("group_size", "expected -1 or a number above 0, found 0");
  scheme.strategy = size > 0 ? ScaleStrategy::group : ScaleStrategy::channel;
  scheme.group_size = std::max<int64_t>(size, 0);
}

QuantizationTarget all_linears(const JsonFields& fields, const QuantizationScheme& scheme) {
  return {NamePattern("Linear", fields.what()), scheme};
}

}  // namespace whittle
