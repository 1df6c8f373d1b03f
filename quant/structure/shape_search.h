#pragma once
// How much of each layer stays, for what a recipe asks.

#include <filesystem>
#include <functional>

#include "engine/weight_source.h"
#include "quant/method.h"
#include "quant/structure/measurements.h"
#include "quant/structure/prune_recipe.h"
#include "quant/structure/structure.h"

namespace whittle {

struct ShapeSearch {
  const FolderWeights& source;
  const PruneRecipe& recipe;
  const CalibrationText& text;
  int64_t memory;
  std::filesystem::path spill;
  const Team& team;
  Measurements& known;  // of this source, recipe and text
  // Mean KL on held-out text of what becomes of these shapes.
  std::function<double(const Shapes&)> judge;
  // Tells how far a stage of this name is.
  std::function<StageProgress(const std::string& stage)> stage;
};

// Of each half of a layer, attention first, whether one of its linears is excluded: then it stays as it was.
// Throws Error where a pattern matches none.
std::vector<bool> excluded_halves(const FolderWeights& source, const std::vector<std::string>& exclude);

// Throws Error where the recipe asks for what the model has not; before any text is drawn.
void check_recipe(const FolderWeights& source, const PruneRecipe& recipe);

// Throws Error where so much cannot go, or no shapes stay within the limit.
Shapes search_shapes(const ShapeSearch& search);

}  // namespace whittle
