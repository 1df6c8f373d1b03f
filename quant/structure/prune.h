#pragma once
// The offline run: a Hugging Face folder in, a smaller dense one out.

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "bench/drift/drift.h"
#include "quant/pipeline.h"
#include "quant/structure/prune_recipe.h"
#include "quant/structure/restoration.h"

namespace whittle {

struct PruneReport {
  PruneRecipe recipe;                           // with the layers as they have become
  Shapes before;                                // as they were
  int64_t source_bytes = 0, written_bytes = 0;  // of the weight files
  int64_t weights_before = 0, weights = 0;      // of the layers' linears
  int64_t cache_before = 0, cache = 0;          // bytes a token, keys and values in f16
  std::optional<DriftReport> held_out;          // against the original, on text that nothing was chosen by
  std::vector<FittedLinear> fitted;
  std::vector<QuantizationReport::Stage> stages;
  bool own_fields = false;         // whether only Whittle reads the result
  std::vector<std::string> notes;  // a sentence each
};

// `out` becomes a model folder of the source's float type with recipe.json beside its weights. Throws Error
// for anything wrong with the source, the recipe, the text or the disk; then `out` does not exist. The search
// by measured KL holds the model's layers, whatever options.memory says.
PruneReport prune(const std::filesystem::path& source, const std::filesystem::path& out,
                  const PruneRecipe& recipe, const Team& team, const RunOptions& options,
                  const Progress& progress);

}  // namespace whittle
