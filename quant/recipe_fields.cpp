#include "quant/recipe_fields.h"

#include <algorithm>

namespace whittle {
namespace {

constexpr int64_t most_seed = int64_t{1} << 53;
constexpr std::string_view known_fields[] = {"source", "tokens", "seed", "held_out"};

}  // namespace

void refuse_unknown(const JsonFields& fields, std::span<const std::string_view> known) {
  for (const auto& [name, value] : fields.object().items())
    if (std::ranges::find(known, name) == known.end())
      fields.reject(name.c_str(), "no such field in a recipe");
}

nlohmann::ordered_json calibration_json(const CalibrationChoice& choice) {
  return {{"source", choice.source},
          {"tokens", choice.tokens},
          {"seed", choice.seed},
          {"held_out", choice.held_out}};
}

CalibrationChoice read_calibration(const JsonFields& recipe) {
  CalibrationChoice choice;
  if (!recipe.has("calibration")) return choice;
  const JsonFields fields = recipe.object("calibration");
  refuse_unknown(fields, known_fields);
  choice.source = fields.string("source", choice.source);
  choice.tokens = fields.integer("tokens", 1, most_recipe_tokens, choice.tokens);
  choice.seed = static_cast<uint64_t>(fields.integer("seed", 0, most_seed, 0));
  choice.held_out = fields.string("held_out", "");
  return choice;
}

}  // namespace whittle
