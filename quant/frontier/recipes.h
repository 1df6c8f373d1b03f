#pragma once
// What `whittle frontier` compares: recipes of its own, or those of a folder.

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "quant/recipe.h"
#include "quant/structure/prune_recipe.h"

namespace whittle {

// What tells the ways to make a model smaller apart.
enum class RecipeKind : uint8_t {
  original,  // nothing is done: what all are compared with
  dense,     // fewer bits
  sparse,    // single weights become zero
  parts,     // whole parts of the model go
};
std::string_view name(RecipeKind kind);
std::optional<RecipeKind> recipe_kind_named(std::string_view name);

// Parts go first, then what stays is quantized; either may be absent.
struct FrontierRecipe {
  std::string name;
  std::optional<PruneRecipe> parts;
  std::optional<Recipe> weights;
  std::optional<double> bits;  // a budget, which decides the formats of `weights`
  std::string error;           // why there is nothing to be done: a file that cannot be read

  RecipeKind kind() const;
  // Whether it looks at text and names none of its own, nor wants more of it than others.
  bool reads_shared_text() const;
  static bool shares_text(const Recipe& weights);
  std::string text() const;
  // What to do, in full.
  nlohmann::json json() const;
  // A name for files, the same only for what does the same: letters, digits, "-", "." and "_".
  std::string key() const;
  // Roughly how long making it takes, where error feedback with one format takes 1.
  double cost() const;
};

// This project's best dense ones, then those that prune.
std::vector<FrontierRecipe> default_recipes();

// Of all files *.json of a folder, by name: a recipe of quantize or prune as read_recipe and
// read_prune_recipe take it, or an array of one of prune and one of quantize, in that order. One that cannot
// be read has an `error`. Throws Error where there is no such folder, or none in it.
std::vector<FrontierRecipe> read_recipes(const std::filesystem::path& folder);

}  // namespace whittle
