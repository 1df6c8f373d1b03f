#include "quant/frontier/maker.h"

#include <fmt/format.h>

#include "engine/files/interrupts.h"
#include "engine/files/json_file.h"
#include "kernels/error.h"
#include "quant/recipe_file.h"
#include "quant/self_text.h"
#include "quant/structure/prune.h"

namespace whittle {
namespace {

namespace fs = std::filesystem;

// Of the model's own text: a seed that no recipe can name.
constexpr uint64_t judging_seed = (uint64_t{1} << 53) + 1;
constexpr int64_t judging_tokens = 16384;

}  // namespace

ModelMaker::ModelMaker(const fs::path& source, const FrontierWork& work, const FrontierOptions& options,
                       std::vector<double> mixes, const Team& team)
    : source_(source), work_(work), options_(options), mixes_(std::move(mixes)), team_(team) {}

void ModelMaker::draw_calibration(const Progress& progress) {
  CalibrationChoice choice;
  const FolderWeights source(source_);
  nlohmann::json kept = work_.load("calibration-source");
  if (!kept.is_string()) {
    const CalibrationText text =
        calibration_text(choice, source, options_.memory, team_, [&](int64_t done, int64_t total) {
          check_interrupted();
          if (progress) progress("text", done, total, "calibration");
        });
    work_.save("calibration", text.windows);
    if (!text.held_out.ids.empty()) work_.save("held-out", text.held_out.ids);
    work_.save("calibration-source", kept = text.source());
  }
  calibration_ = kept.get<std::string>();
  choice.source = work_.file("calibration").string();
  if (fs::exists(work_.file("held-out"))) choice.held_out = work_.file("held-out").string();
  drawn_ = choice;
}

Windows ModelMaker::own_text(const Progress& progress) const {
  const std::string name = "judged-by";
  if (!fs::exists(work_.file(name))) {
    const FolderWeights source(source_);
    const SelfText text = self_text(source, options_.memory, team_, judging_tokens, calibration_context,
                                    judging_seed, [&](int64_t done, int64_t total) {
                                      check_interrupted();
                                      if (progress) progress("text", done, total, "to judge by");
                                    });
    work_.save(name, text.windows.ids);
  }
  Windows windows = token_windows(work_.load(name), work_.file(name).string());
  windows.protocol = "the model's own text";
  return windows;
}

RunOptions ModelMaker::run_options() const {
  RunOptions run;
  run.version = options_.version;
  run.build = options_.build;
  run.memory = options_.memory;
  return run;
}

fs::path ModelMaker::without_parts(const PruneRecipe& recipe, const std::string& key,
                                   const Progress& progress) const {
  const fs::path folder = work_.models() / key;
  if (fs::exists(folder / "config.json")) return folder;
  PruneRecipe own = recipe;
  if (recipe.calibration == CalibrationChoice{}) own.calibration = *drawn_;
  prune(source_, folder, own, team_, {.version = options_.version, .memory = options_.memory}, progress);
  return folder;
}

Recipe ModelMaker::mixed(const Recipe& recipe, double bits, const Progress& progress) {
  const std::string field = fmt::format("{}", bits);
  nlohmann::json kept = work_.load("mixes");
  if (!kept.is_object()) {
    kept = nlohmann::json::object();
    const RunOptions run = run_options();
    for (const auto& [target, mix] :
         mixed_recipes(source_, work_.models() / "mixes", recipe, mixes_, team_, run, progress))
      kept[fmt::format("{}", target)] = recipe_json(mix);
    work_.save("mixes", kept);
  }
  if (!kept.contains(field)) fail("the smallest mix of formats takes more than {} bits a weight", bits);
  return read_recipe(kept[field], work_.file("mixes").string());
}

fs::path ModelMaker::make(const FrontierRecipe& recipe, const Progress& progress) {
  if (!recipe.error.empty()) fail("{}", recipe.error);
  fs::path from = source_;
  if (recipe.parts) {
    const FrontierRecipe parts = {.name = "parts", .parts = recipe.parts};
    from = without_parts(*recipe.parts, parts.key(), progress);
  }
  if (!recipe.weights) return from;
  const fs::path folder = work_.models() / recipe.key();
  Recipe own = *recipe.weights;
  if (recipe.shares_text(own)) own.calibration = *drawn_;
  const CalibrationChoice text = own.calibration;
  if (recipe.bits) own = mixed(own, *recipe.bits, progress);
  own.calibration = text;  // the work folder may have another name since then
  std::error_code ignored;
  fs::remove_all(folder, ignored);  // it was made, and then could not be measured
  quantize(from, folder, own, team_, run_options(), progress);
  return folder;
}

}  // namespace whittle
