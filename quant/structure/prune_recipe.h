#pragma once
// What to leave out of a model, as a user says it and as recipe.json in a pruned folder repeats it.

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "quant/calibration.h"
#include "quant/structure/structure.h"

namespace whittle {

// The parts that one choice is made among.
enum class PrunedParts : uint8_t {
  mlp_width,  // neurons of the MLPs
  blocks,     // attention, the MLP, or both of a layer
  kv_heads,   // key/value heads, each with its query heads
  all,        // each of these
};
std::string_view name(PrunedParts parts);
std::optional<PrunedParts> pruned_parts_named(std::string_view name);

struct PruneRecipe {
  PrunedParts parts = PrunedParts::all;
  // How much, in one of these ways:
  std::optional<double> max_kl;     // as far as the mean KL on held-out text stays within this
  std::optional<double> mlp_width;  // the fraction of all neurons that stays
  int64_t blocks = 0;               // the weights of so many layers go
  int64_t kv_heads = 0;             // so many go in each layer
  Shapes layers;                    // these stay
  // Only what the family's own config fields can say: all layers alike, whole layers dropped.
  bool alike = false;
  bool fitted = true;                // what stays is fitted (restoration.h); else it is as it was
  std::vector<std::string> exclude;  // regular expressions; of a module that one matches nothing goes
  CalibrationChoice calibration;

  // One line for reports and for the file's metadata.
  std::string text() const;
};

nlohmann::ordered_json prune_recipe_json(const PruneRecipe& recipe);
// Of what prune_recipe_json wrote with `layers`. `what` names the file. Throws Error that names the field.
PruneRecipe read_prune_recipe(const nlohmann::json& json, const std::string& what);

}  // namespace whittle
