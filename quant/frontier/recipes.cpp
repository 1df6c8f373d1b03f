#include "quant/frontier/recipes.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "engine/files/file_hash.h"
#include "engine/files/json_file.h"
#include "kernels/error.h"
#include "quant/recipe_file.h"

namespace whittle {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 4> kinds = {"original", "dense", "sparse", "parts"};  // by RecipeKind
constexpr int64_t most_recipe_bytes = int64_t{64} << 20;

// A row of the list; what it does not say stays as in Recipe and PruneRecipe.
struct Row {
  const char* name;
  WeightFormat format = WeightFormat::int8;
  int64_t group_size = 0;
  int64_t activations = 0;
  MethodName method = MethodName::gptq;
  std::optional<double> bits = {};
  Sparsity sparsity = {};
  SparsityAllocation allocation = SparsityAllocation::uniform;
  std::optional<double> mlp_width = {};
  int64_t blocks = 0;
};

// A budget of bits decides the formats of a mix.
const Row rows[] = {
    {.name = "int8 row"},
    {.name = "int8 row, activations 32", .activations = 32},
    {.name = "int6 g128", .format = WeightFormat::int6, .group_size = 128},
    {.name = "int5 g128", .format = WeightFormat::int5, .group_size = 128},
    {.name = "int4 g32", .format = WeightFormat::int4, .group_size = 32},
    {.name = "int4 g64", .format = WeightFormat::int4, .group_size = 64},
    {.name = "int4 g128", .format = WeightFormat::int4, .group_size = 128},
    {.name = "mix 5.65 bits", .bits = 5.65},
    {.name = "mix 4.8 bits", .bits = 4.8},
    {.name = "mix 4.55 bits", .bits = 4.55},
    {.name = "mix 4.29 bits", .bits = 4.29},
    {.name = "int4 g32, rounded", .format = WeightFormat::int4, .group_size = 32, .method = MethodName::rtn},
    {.name = "int8 4:8", .sparsity = {.keep = 4, .of = 8}},
    {.name = "int8 2:4", .sparsity = {.keep = 2, .of = 4}},
    {.name = "int8 50 %", .sparsity = {.zeros = 0.5}, .allocation = SparsityAllocation::kl},
    {.name = "int4 g128 50 %", .format = WeightFormat::int4, .group_size = 128, .sparsity = {.zeros = 0.5}},
    {.name = "int4 g128 2:4",
     .format = WeightFormat::int4,
     .group_size = 128,
     .sparsity = {.keep = 2, .of = 4}},
    {.name = "int8 of MLP width 0.8", .mlp_width = 0.8},
    {.name = "int4 g128 of MLP width 0.8", .format = WeightFormat::int4, .group_size = 128, .mlp_width = 0.8},
    {.name = "int8 without a block", .blocks = 1},
};

FrontierRecipe recipe_of(const Row& row) {
  FrontierRecipe out;
  out.name = row.name;
  out.bits = row.bits;
  Recipe& recipe = out.weights.emplace();
  recipe.method = row.method;
  recipe.weights = row.format;
  recipe.group_size = row.group_size;
  recipe.activation_group_size = row.activations;
  recipe.sparsity = row.sparsity;
  recipe.allocation = row.allocation;
  recipe.sparse_storage = recipe.prunes();
  if (!row.mlp_width && !row.blocks) return out;
  out.parts.emplace();
  out.parts->mlp_width = row.mlp_width;
  out.parts->blocks = row.blocks;
  return out;
}

bool of_parts(const nlohmann::json& json) {
  return json.is_object() && json.contains("whittle_prune_recipe");
}

FrontierRecipe read_file(const fs::path& file) {
  FrontierRecipe out;
  out.name = file.stem().string();
  try {
    const std::string what = file.string();
    const nlohmann::json json = read_json_file(file, most_recipe_bytes);
    const bool both = json.is_array();
    if (both && (json.size() != 2 || !of_parts(json[0])))
      fail("{}: an array is one recipe of prune, for parts of a model, and one of quantize", what);
    if (both || of_parts(json)) out.parts = read_prune_recipe(both ? json[0] : json, what);
    if (both || !out.parts) out.weights = read_recipe(both ? json[1] : json, what);
  } catch (const Error& error) {
    out.error = error.what();
  }
  return out;
}

// What its files are now.
std::string stamps_of(const CalibrationChoice& choice) {
  std::string stamps;
  for (const std::string& file : {choice.source, choice.held_out}) {
    std::error_code error;
    const auto size = fs::file_size(file, error);
    if (!error)
      stamps += fmt::format("\n{} {}", size, fs::last_write_time(file, error).time_since_epoch().count());
  }
  return stamps;
}

}  // namespace

std::string_view name(RecipeKind kind) { return kinds[static_cast<size_t>(kind)]; }

std::optional<RecipeKind> recipe_kind_named(std::string_view name) {
  const auto found = std::ranges::find(kinds, name);
  if (found == kinds.end()) return std::nullopt;
  return static_cast<RecipeKind>(found - kinds.begin());
}

RecipeKind FrontierRecipe::kind() const {
  if (parts) return RecipeKind::parts;
  if (!weights) return error.empty() ? RecipeKind::original : RecipeKind::dense;
  return weights->prunes() ? RecipeKind::sparse : RecipeKind::dense;
}

bool FrontierRecipe::reads_shared_text() const {
  return (parts && parts->calibration == CalibrationChoice{}) || (weights && shares_text(*weights));
}

bool FrontierRecipe::shares_text(const Recipe& weights) {
  const CalibrationChoice none;
  return weights.method != MethodName::rtn && weights.calibration == none &&
         weights.tuning_tokens <= none.tokens;
}

std::string FrontierRecipe::text() const {
  if (!parts && !weights) return "as it is";
  std::string text = parts ? parts->text() : "";
  if (!weights) return text;
  if (parts) text += "; then ";
  return text +
         (bits ? fmt::format("{} bits a weight, mixed formats, {}", *bits, whittle::name(weights->method))
               : weights->text());
}

nlohmann::json FrontierRecipe::json() const {
  nlohmann::json json = {{"prune", nullptr}, {"quantize", nullptr}, {"target_bits", nullptr}};
  if (parts) {
    json["prune"] = prune_recipe_json(*parts);
    json["prune"]["what"] = parts->text();
  }
  if (weights) json["quantize"] = recipe_json(*weights);
  if (bits) json["target_bits"] = *bits;
  return json;
}

std::string FrontierRecipe::key() const {
  std::string key;
  for (const char c : name) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.';
    if (plain)
      key += c;
    else if (!key.empty() && key.back() != '-')
      key += '-';
  }
  constexpr size_t longest = 64;
  key.resize(std::min(key.size(), longest));
  std::string all = name + '\n' + json().dump();
  if (parts) all += stamps_of(parts->calibration);
  if (weights) all += stamps_of(weights->calibration);
  return key + "-" + hash_of(all);
}

double FrontierRecipe::cost() const {
  double cost = 0;
  if (parts) cost += 4;
  if (!weights) return cost;
  if (weights->method != MethodName::rtn) cost += 1;
  if (weights->prunes()) cost += weights->method == MethodName::rtn ? 0.1 : 2;
  if (weights->allocation == SparsityAllocation::kl) cost += 2;
  if (bits) cost += 1;
  if (weights->block_steps) cost += 10;
  if (weights->tuning_tokens) cost += 20;
  return cost;
}

std::vector<FrontierRecipe> default_recipes() {
  std::vector<FrontierRecipe> recipes;
  for (const Row& row : rows) recipes.push_back(recipe_of(row));
  return recipes;
}

std::vector<FrontierRecipe> read_recipes(const fs::path& folder) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) fail("{}: is no folder of recipes", quote(folder.string()));
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().extension() == ".json") files.push_back(entry.path());
  if (files.empty()) fail("{}: holds no recipe, a file *.json", quote(folder.string()));
  std::ranges::sort(files);
  std::vector<FrontierRecipe> recipes;
  for (const fs::path& file : files) recipes.push_back(read_file(file));
  return recipes;
}

}  // namespace whittle
