#pragma once
// A recipe as JSON: recipe.json in every folder that was quantized, and what a user gives.

#include <nlohmann/json.hpp>
#include <string>

#include "quant/recipe.h"

namespace whittle {

inline constexpr const char* recipe_file_name = "recipe.json";

nlohmann::ordered_json recipe_json(const Recipe& recipe);
// An absent field has the value of a Recipe that nobody changed. `what` names the file. Throws Error that
// names the field: an unknown one, a wrong type, a value that does not exist.
Recipe read_recipe(const nlohmann::json& json, const std::string& what);

}  // namespace whittle
