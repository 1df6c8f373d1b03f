#pragma once
// The stages of one run, and what goes from one to the next: the model, the recipe as it stands, the text.

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "quant/budget.h"
#include "quant/calibrated.h"
#include "quant/judge.h"
#include "quant/model_scales.h"
#include "quant/pipeline.h"
#include "quant/rotation.h"
#include "quant/tuning.h"
#include "quant/work_folder.h"
#include "quant/written_weights.h"

namespace whittle {

class Run {
 public:
  // Where a pipe has the text, it is read here: a run may be kept waiting only while signals are not held
  // back. Where there is a budget, the recipe becomes the one with the smallest formats. All that is referred
  // to must outlive this. Throws Error for what cannot be carried out.
  Run(const std::filesystem::path& source, const Recipe& recipe, const Team& team, const RunOptions& options,
      const Progress& progress);

  const FolderWeights& source() const { return source_; }
  const Recipe& recipe() const { return recipe_; }
  QuantizationReport& report() { return report_; }
  nlohmann::json identity() const;  // before begin()
  // Throws Error where the recipe leaves nothing that a budget could choose for.
  void require_choice() const;

  std::unique_ptr<Method> rounded() const;

  // Checks the weights and finds the text: what comes before all that is below. work: it must outlive this
  // and every method.
  void begin(WorkFolder& work);
  // What tensors cost, as the recipe stands: every linear in the smallest format.
  BudgetSolver measure();
  // From here on the model is rotated so.
  void rotate(RotationName rotation);
  // That can be written.
  std::vector<RotationName> rotations() const;
  // From here on the recipe is this one.
  void use(const Recipe& recipe);
  // The layers, by the recipe as it stands. prefix: of the names under which its modules are kept.
  std::unique_ptr<CalibratedMethod> calibrated(const std::string& prefix);
  std::unique_ptr<Method> tuned(std::unique_ptr<CalibratedMethod> before);

  // The weights and the recipe, into a folder.
  void write(const std::filesystem::path& folder, Method& method);
  // config.json of what was written.
  nlohmann::json config() const;

 private:
  // body(progress of this stage)
  template <class Body>
  void stage(const std::string& name, Body body);
  const WeightSource& unscaled() const;
  const WeightSource& base() const;
  std::function<bool(const Module&)> changed() const;
  // A norm's weight as its file's type holds it.
  std::function<float(const Module&, float)> stored() const;
  void scale(ScaleRule rule);
  void fit_tuning();
  void share_sparsity();
  GptqOptions gptq_options() const;
  std::vector<std::vector<int64_t>> format_times(const Sensitivity& sensitivity,
                                                 const StageProgress& progress);
  CalibratedOptions calibrated_options(const std::string& prefix);
  CalibrationText draw_text(const CalibrationProgress& progress) const;
  void split_text();
  TuningOptions tuning_options() const;

  const FolderWeights source_;
  std::optional<RotatedWeights> rotated_;
  std::optional<ScaledWeights> scaled_;    // those
  std::optional<WrittenWeights> written_;  // of these
  bool choose_outer_;                      // whether the budget decides about embedding and head
  Recipe recipe_;
  QuantizationPlan plan_;
  const Team& team_;
  const RunOptions& options_;
  const Progress& progress_;
  WorkFolder* work_ = nullptr;
  CalibrationText text_;
  std::vector<std::vector<int32_t>> tuning_windows_;
  std::optional<Judge> judge_;  // from begin() to write(), where text is held out
  QuantizationReport report_;
};

// For people and for --recipe. Throws Error that names the file.
void write_recipe(const std::filesystem::path& file, const Recipe& recipe);

}  // namespace whittle
