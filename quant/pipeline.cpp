#include "quant/pipeline.h"

#include <chrono>
#include <fstream>
#include <memory>

#include "engine/files/output_folder.h"
#include "engine/files/safetensors_writer.h"
#include "kernels/error.h"
#include "quant/calibrated.h"
#include "quant/recipe_file.h"

namespace whittle {
namespace {

namespace fs = std::filesystem;

class RoundToNearest final : public Method {
 public:
  RoundToNearest(const WeightSource& source, const Team& team) : source_(source), team_(team) {}
  std::string text() const override { return "round to nearest, scales by least squared error"; }
  QuantizedMatrix quantize(const Module& module, const QuantizationScheme& scheme) override {
    return round_to_nearest(source_, module, scheme, team_);
  }

 private:
  const WeightSource& source_;
  const Team& team_;
};

// What a file was: another run may only go on where nothing has changed.
nlohmann::json stamp(const fs::path& file) {
  return {fs::file_size(file), fs::last_write_time(file).time_since_epoch().count()};
}

nlohmann::json identity(const fs::path& source, const Recipe& recipe, const RunOptions& options) {
  nlohmann::json identity = {{"version", options.version},
                             {"recipe", recipe_json(recipe)},
                             {"memory", options.memory},
                             {"source", fs::absolute(source).lexically_normal().string()}};
  for (const auto& entry : fs::directory_iterator(source))
    if (entry.is_regular_file()) identity["files"][entry.path().filename().string()] = stamp(entry.path());
  if (std::error_code error; fs::is_regular_file(recipe.calibration.source, error))
    identity["calibration"] = stamp(recipe.calibration.source);
  return identity;
}

// The stages of one run, one after the other.
class Run {
 public:
  Run(const fs::path& source, const fs::path& out, const Recipe& recipe, const Team& team,
      const RunOptions& options, const Progress& progress)
      : source_(source),
        plan_(plan_quantization(recipe, source_)),
        recipe_(recipe),
        team_(team),
        options_(options),
        progress_(progress),
        folder_(out) {
    folder_.copy_side_files(source);
    if (recipe.method == MethodName::rtn)
      remove_if_abandoned(WorkFolder::path_for(out));
    else
      work_.emplace(out, identity(source, recipe, options), options.resume);
  }

  QuantizationReport run() {
    report_.notes = plan_.notes(source_.inventory());
    if (work_) {
      calibrate();
    } else {
      method_ = std::make_unique<RoundToNearest>(source_, team_);
    }
    write();
    finish();
    return std::move(report_);
  }

 private:
  // body(progress of this stage)
  template <class Body>
  void stage(const std::string& name, Body body) {
    const auto begin = std::chrono::steady_clock::now();
    body([&](int64_t done, int64_t total, const std::string& what) {
      if (progress_) progress_(name, done, total, what);
    });
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    report_.stages.push_back({name, taken.count()});
  }

  void calibrate() {
    // Weights run before their turn comes to be written.
    stage("check", [&](const StageProgress&) { require_finite_model(source_, team_); });
    stage("calibration text", [&](const StageProgress& progress) {
      if (std::optional<CalibrationText> saved = load_calibration(*work_)) {
        text_ = std::move(*saved);
        return;
      }
      text_ = calibration_text(recipe_.calibration, source_, options_.memory, team_,
                               [&](int64_t done, int64_t total) { progress(done, total, "tokens"); });
      save(*work_, text_);
    });
    auto method = std::make_unique<CalibratedMethod>(source_, plan_, text_, GptqOptions{}, *work_,
                                                     options_.memory, team_);
    stage("layers", [&](const StageProgress& progress) { method->prepare(progress); });
    report_.held_out = method->drift();
    method_ = std::move(method);
  }

  std::map<std::string, std::string> provenance() const {
    std::map<std::string, std::string> metadata = {{"format", "pt"},
                                                   {"whittle.version", options_.version},
                                                   {"whittle.recipe", recipe_.text()},
                                                   {"whittle.method", method_->text()}};
    if (const auto& held_out = report_.held_out)
      metadata["whittle.held_out"] =
          fmt::format("mean KL {:.6f}, perplexity {:.4f} from {:.4f}, over {} tokens in {} windows",
                      held_out->kl.mean, held_out->model_perplexity(), held_out->baseline_perplexity(),
                      held_out->tokens_scored, held_out->windows);
    return metadata;
  }

  void write() {
    stage("writing", [&](const StageProgress& progress) {
      QuantizedWriter weights(source_, plan_, *method_, team_, progress);
      const fs::path path = folder_.path() / "model.safetensors";
      SafetensorsWriter writer(path, weights.outline(), provenance());
      report_.weights = weights.write(writer);
      writer.finish();
      report_.written_bytes = static_cast<int64_t>(fs::file_size(path));
      report_.source_bytes = source_.file().disk_bytes();
    });
  }

  void finish() {
    source_.file().check_unchanged();
    const fs::path recipe = folder_.path() / recipe_file_name;
    std::ofstream stream(recipe);
    stream << recipe_json(recipe_).dump(2) << '\n';
    stream.close();
    if (!stream) fail("{}: cannot write", recipe.string());
    nlohmann::json config = source_.file().config();
    config["quantization_config"] = quantization_config_json(plan_.modules, plan_.kept);
    if (!plan_.copies.empty()) config["tie_word_embeddings"] = false;
    folder_.commit(config);
    if (work_) work_->finish();
  }

  const FolderWeights source_;
  const QuantizationPlan plan_;
  const Recipe& recipe_;
  const Team& team_;
  const RunOptions& options_;
  const Progress& progress_;
  OutputFolder folder_;  // holds signals back until all below is gone
  std::optional<WorkFolder> work_;
  CalibrationText text_;
  std::unique_ptr<Method> method_;
  QuantizationReport report_;
};

}  // namespace

QuantizationReport quantize(const fs::path& source, const fs::path& out, const Recipe& recipe,
                            const Team& team, const RunOptions& options, const Progress& progress) {
  return Run(source, out, recipe, team, options, progress).run();
}

}  // namespace whittle
