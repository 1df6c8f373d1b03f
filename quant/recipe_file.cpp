#include "quant/recipe_file.h"

#include <algorithm>
#include <iterator>
#include <span>

#include "engine/files/json_file.h"
#include "kernels/error.h"
#include "quant/recipe_fields.h"

namespace whittle {
namespace {

constexpr int64_t version = 1;
constexpr int64_t most_steps = 100000;
constexpr int64_t group_sizes[] = {0, 32, 64, 128};

constexpr std::string_view known_fields[] = {
    "whittle_recipe", "method",      "rotation",    "weights",       "group_size", "asymmetric",
    "activations",    "sparsity",    "pruning",     "allocation",    "exclude",    "lm_head",
    "embedding",      "calibration", "block_steps", "tuning_tokens", "modules",    "sparse_storage"};
constexpr std::string_view module_fields[] = {"weights", "group_size", "sparsity"};

nlohmann::ordered_json format_json(std::optional<WeightFormat> format) {
  return format ? nlohmann::ordered_json(info(*format).name) : nlohmann::ordered_json(nullptr);
}

WeightFormat code_format(const JsonFields& fields, const char* field, std::string_view fallback) {
  const std::string text = fields.string(field, std::string(fallback));
  const std::optional<WeightFormat> format = weight_format_named(text);
  if (!format || !info(*format).quantized)
    fields.reject(field,
                  fmt::format("expected {}, found {}", fmt::join(code_format_names(), ", "), quote(text)));
  return *format;
}

// null: floats.
std::optional<WeightFormat> format_or_floats(const JsonFields& fields, const char* fallback) {
  const nlohmann::json& object = fields.object();
  if (object.contains("weights") && object["weights"].is_null()) return std::nullopt;
  return code_format(fields, "weights", fallback);
}

nlohmann::ordered_json sparsity_json(const Sparsity& sparsity) {
  return sparsity.of ? nlohmann::ordered_json(sparsity.text()) : nlohmann::ordered_json(sparsity.zeros);
}

Sparsity read_sparsity(const JsonFields& fields) {
  if (!fields.has("sparsity")) return {};
  const nlohmann::json& value = fields.at("sparsity");
  if (value.is_string())
    if (const std::optional<Sparsity> pattern = pattern_named(value.get<std::string>())) return *pattern;
  if (value.is_number())
    if (const auto zeros = value.get<double>(); zeros >= 0 && zeros <= 1) return {.zeros = zeros};
  fields.reject("sparsity", fmt::format("expected a part from 0 to 1, or a pattern such as \"2:4\", found {}",
                                        quote(value.dump())));
}

int64_t group_size(const JsonFields& fields, const char* field) {
  const int64_t size = fields.integer(field, 0, group_sizes[3], 0);
  if (std::ranges::find(group_sizes, size) == std::end(group_sizes))
    fields.reject(field, fmt::format("expected 32, 64, 128, or 0 for a row, found {}", size));
  return size;
}

}  // namespace

nlohmann::ordered_json recipe_json(const Recipe& recipe) {
  nlohmann::ordered_json json = {{"whittle_recipe", version},
                                 {"method", name(recipe.method)},
                                 {"rotation", name(recipe.rotation)},
                                 {"weights", format_json(recipe.weights)},
                                 {"group_size", recipe.group_size},
                                 {"asymmetric", !recipe.symmetric},
                                 {"activations", recipe.activation_group_size},
                                 {"lm_head", format_json(recipe.lm_head)},
                                 {"embedding", format_json(recipe.embedding)},
                                 {"exclude", recipe.exclude}};
  if (recipe.method != MethodName::rtn) json["calibration"] = calibration_json(recipe.calibration);
  if (recipe.sparsity) json["sparsity"] = sparsity_json(recipe.sparsity);
  if (recipe.prunes()) json["pruning"] = name(recipe.pruning);
  if (recipe.allocation != SparsityAllocation::uniform) json["allocation"] = name(recipe.allocation);
  if (recipe.sparse_storage) json["sparse_storage"] = true;
  if (recipe.block_steps) json["block_steps"] = recipe.block_steps;
  if (recipe.tuning_tokens) json["tuning_tokens"] = recipe.tuning_tokens;
  for (const auto& [module, format] : recipe.modules) {
    nlohmann::ordered_json& out = json["modules"][module];
    if (format) out = {{"weights", format_json(format->weights)}, {"group_size", format->group_size}};
    if (format && format->sparsity) out["sparsity"] = sparsity_json(format->sparsity);
  }
  return json;
}

Recipe read_recipe(const nlohmann::json& json, const std::string& what) {
  const JsonFields fields(json, what);
  refuse_unknown(fields, known_fields);
  fields.integer("whittle_recipe", version, version);
  Recipe recipe;
  const std::string method = fields.string("method", std::string(name(recipe.method)));
  const std::optional<MethodName> named = method_named(method);
  if (!named)
    fields.reject("method",
                  fmt::format("expected {}, found {}", fmt::join(method_names(), ", "), quote(method)));
  recipe.method = *named;
  const std::string rotation = fields.string("rotation", std::string(name(recipe.rotation)));
  const std::optional<RotationName> rotated = rotation_named(rotation);
  if (!rotated)
    fields.reject("rotation",
                  fmt::format("expected {}, found {}", fmt::join(rotation_choices(), ", "), quote(rotation)));
  recipe.rotation = *rotated;
  recipe.weights = format_or_floats(fields, "int8");
  recipe.group_size = group_size(fields, "group_size");
  recipe.symmetric = !fields.boolean("asymmetric", false);
  recipe.activation_group_size = group_size(fields, "activations");
  recipe.sparsity = read_sparsity(fields);
  const std::string pruning = fields.string("pruning", std::string(name(recipe.pruning)));
  const std::optional<PruningMethod> pruner = pruning_method_named(pruning);
  if (!pruner)
    fields.reject("pruning", fmt::format("expected {}, found {}", fmt::join(pruning_method_names(), ", "),
                                         quote(pruning)));
  recipe.pruning = *pruner;
  const std::string shared = fields.string("allocation", std::string(name(recipe.allocation)));
  const std::optional<SparsityAllocation> allocation = sparsity_allocation_named(shared);
  if (!allocation)
    fields.reject("allocation", fmt::format("expected {}, found {}", fmt::join(sparsity_allocations(), ", "),
                                            quote(shared)));
  recipe.allocation = *allocation;
  recipe.sparse_storage = fields.boolean("sparse_storage", false);
  if (fields.has("lm_head")) recipe.lm_head = code_format(fields, "lm_head", "");
  if (fields.has("embedding")) recipe.embedding = code_format(fields, "embedding", "");
  if (recipe.embedding && *recipe.embedding != WeightFormat::int8)
    fields.reject("embedding", "expected int8, or null");
  if (fields.has("exclude")) {
    const nlohmann::json& exclude = fields.at("exclude");
    if (!exclude.is_array()) fields.reject("exclude", "expected an array of regular expressions");
    for (const nlohmann::json& pattern : exclude) {
      if (!pattern.is_string()) fields.reject("exclude", "expected an array of regular expressions");
      recipe.exclude.push_back(pattern.get<std::string>());
    }
  }
  recipe.calibration = read_calibration(fields);
  recipe.block_steps = fields.integer("block_steps", 0, most_steps, 0);
  if (recipe.block_steps && recipe.method != MethodName::gptq)
    fields.reject("block_steps", "roundings are tuned from where error feedback leaves them: method gptq");
  recipe.tuning_tokens = fields.integer("tuning_tokens", 0, most_recipe_tokens, 0);
  if (recipe.tuning_tokens && recipe.method == MethodName::rtn)
    fields.reject("tuning_tokens", "rounding to nearest looks at no text to tune on");
  if (fields.has("modules")) {
    const JsonFields modules = fields.object("modules");
    for (const auto& [module, value] : modules.object().items()) {
      std::optional<ModuleFormat>& format = recipe.modules[module];
      if (value.is_null()) continue;
      const JsonFields own(value, fmt::format("{}: module {}", what, quote(module)));
      refuse_unknown(own, module_fields);
      format = {format_or_floats(own, ""), group_size(own, "group_size"), read_sparsity(own)};
    }
  }
  if (recipe.method == MethodName::rtn && recipe.prunes() && !fields.has("pruning"))
    recipe.pruning = PruningMethod::magnitude;
  return recipe;
}

}  // namespace whittle
