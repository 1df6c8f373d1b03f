#pragma once
// Models made from recipes, in a work folder. What several recipes need is made once: the text that they look
// at, a model that lacks the same parts, what the tensors cost in each format.

#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "quant/frontier/frontier.h"
#include "quant/frontier/work.h"

namespace whittle {

class ModelMaker {
 public:
  // mixes: the budgets that will be asked for. All that is referred to must outlive this.
  ModelMaker(const std::filesystem::path& source, const FrontierWork& work, const FrontierOptions& options,
             std::vector<double> mixes, const Team& team);

  // Finds the text that recipes look at which name none, or draws it. Before make().
  void draw_calibration(const Progress& progress);
  const std::string& calibration() const { return calibration_; }  // in words
  // Windows of the model's own text that no recipe sees.
  Windows own_text(const Progress& progress) const;

  // The folder of the model, which the caller removes once it is measured, where this is no part of another.
  // Throws Error.
  std::filesystem::path make(const FrontierRecipe& recipe, const Progress& progress);

 private:
  RunOptions run_options() const;
  std::filesystem::path without_parts(const PruneRecipe& recipe, const std::string& key,
                                      const Progress& progress) const;
  Recipe mixed(const Recipe& recipe, double bits, const Progress& progress);

  const std::filesystem::path source_;
  const FrontierWork& work_;
  const FrontierOptions& options_;
  const std::vector<double> mixes_;
  const Team& team_;
  std::string calibration_;
  std::optional<CalibrationChoice> drawn_;
};

}  // namespace whittle
