#pragma once
// Models that several tests run: quantized copies of the embedded one, made once a process.

#include <map>
#include <string>

#include "quant/pipeline.h"
#include "tests/support/paths.h"

namespace whittle::test {

// The embedded model after `recipe`, in a folder that lasts as long as the process.
inline std::filesystem::path quantized_reference(const Recipe& recipe) {
  static const TemporaryFolder folder;
  static std::map<std::string, std::filesystem::path> made;
  const auto [entry, is_new] = made.try_emplace(recipe.text(), folder.path() / std::to_string(made.size()));
  if (is_new) quantize(reference_model(), entry->second, recipe, Team(2), {"test"}, {});
  return entry->second;
}

inline Recipe int8_recipe() { return {}; }
inline Recipe int4_recipe(int64_t group_size, bool symmetric = true) {
  Recipe recipe;
  recipe.weights = WeightFormat::int4;
  recipe.group_size = group_size;
  recipe.symmetric = symmetric;
  return recipe;
}

}  // namespace whittle::test
