#include "quant/structure/prune_recipe.h"

#include <algorithm>
#include <array>

#include "engine/files/json_file.h"
#include "kernels/error.h"
#include "quant/recipe_fields.h"

namespace whittle {
namespace {

constexpr int64_t version = 1;
constexpr int64_t most_layers = 10000, most_size = 1 << 22;
constexpr std::array<std::string_view, 4> names = {"mlp-width", "blocks", "kv-heads", "all"};
constexpr std::string_view known_fields[] = {"whittle_prune_recipe", "layers", "fitted", "calibration",
                                             "exclude"};
constexpr std::string_view layer_fields[] = {"intermediate_size", "num_key_value_heads"};

}  // namespace

std::string_view name(PrunedParts parts) { return names[static_cast<size_t>(parts)]; }

std::optional<PrunedParts> pruned_parts_named(std::string_view name) {
  const auto found = std::ranges::find(names, name);
  if (found == names.end()) return std::nullopt;
  return static_cast<PrunedParts>(found - names.begin());
}

std::string PruneRecipe::text() const {
  std::string text = !layers.empty() ? "layers as listed"
                     : max_kl        ? fmt::format("{}, mean KL up to {}", name(parts), *max_kl)
                     : mlp_width     ? fmt::format("{} of the MLPs' neurons", *mlp_width)
                     : blocks
                         ? fmt::format("without the weights of {} layer{}", blocks, blocks == 1 ? "" : "s")
                         : fmt::format("{} key/value heads fewer in each layer", kv_heads);
  if (alike) text += ", layers alike";
  if (!fitted) text += ", nothing fitted";
  for (const std::string& pattern : exclude) text += fmt::format(", without {}", pattern);
  return text;
}

nlohmann::ordered_json prune_recipe_json(const PruneRecipe& recipe) {
  nlohmann::ordered_json json = {
      {"whittle_prune_recipe", version}, {"fitted", recipe.fitted}, {"exclude", recipe.exclude}};
  json["calibration"] = calibration_json(recipe.calibration);
  json["layers"] = nlohmann::ordered_json::array();
  for (const LayerShape& layer : recipe.layers)
    json["layers"].push_back(
        {{"intermediate_size", layer.intermediate_size}, {"num_key_value_heads", layer.num_key_value_heads}});
  return json;
}

PruneRecipe read_prune_recipe(const nlohmann::json& json, const std::string& what) {
  const JsonFields fields(json, what);
  refuse_unknown(fields, known_fields);
  fields.integer("whittle_prune_recipe", version, version);
  PruneRecipe recipe;
  recipe.fitted = fields.boolean("fitted", true);
  if (fields.has("exclude")) {
    const nlohmann::json& exclude = fields.at("exclude");
    const auto text = [](const nlohmann::json& pattern) { return pattern.is_string(); };
    if (!exclude.is_array() || !std::ranges::all_of(exclude, text))
      fields.reject("exclude", "expected an array of regular expressions");
    recipe.exclude = exclude.get<std::vector<std::string>>();
  }
  recipe.calibration = read_calibration(fields);
  const nlohmann::json& layers = fields.at("layers");
  if (!layers.is_array() || layers.empty() || std::ssize(layers) > most_layers)
    fields.reject("layers", "expected an array of one object for each layer of the model");
  for (const nlohmann::json& layer : layers) {
    const JsonFields shape(layer, fmt::format("{}: field \"layers\": layer {}", what, recipe.layers.size()));
    refuse_unknown(shape, layer_fields);
    recipe.layers.push_back({shape.integer("intermediate_size", 0, most_size),
                             shape.integer("num_key_value_heads", 0, most_size)});
  }
  return recipe;
}

}  // namespace whittle
