#include "quant/pipeline.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <limits>
#include <memory>

#include "engine/files/float_tensor.h"
#include "engine/files/output_folder.h"
#include "engine/files/safetensors_writer.h"
#include "kernels/error.h"
#include "kernels/option_error.h"
#include "quant/calibrated.h"
#include "quant/recipe_file.h"
#include "quant/rotation.h"
#include "quant/tuned.h"

namespace whittle {
namespace {

namespace fs = std::filesystem;

class RoundToNearest final : public Method {
 public:
  // changed: which of source's modules are not the file's.
  RoundToNearest(const WeightSource& source, std::function<bool(const Module&)> changed, const Team& team)
      : source_(source), changed_(std::move(changed)), team_(team) {}
  std::string text() const override { return "round to nearest, scales by least squared error"; }
  const WeightSource* changed(const Module& module) const override {
    return changed_ && changed_(module) ? &source_ : nullptr;
  }
  QuantizedMatrix quantize(const Module& module, const QuantizationScheme& scheme) override {
    return round_to_nearest(source_, module, scheme, team_);
  }

 private:
  const WeightSource& source_;
  const std::function<bool(const Module&)> changed_;
  const Team& team_;
};

// What a file was: another run may only go on where nothing has changed.
nlohmann::json stamp(const fs::path& file) {
  return {fs::file_size(file), fs::last_write_time(file).time_since_epoch().count()};
}

nlohmann::json budget_json(const Budget& budget) {
  if (budget.bits) return {{"bits", *budget.bits}};
  if (budget.bytes) return {{"bytes", *budget.bytes}};
  if (budget.kl) return {{"kl", *budget.kl}};
  return nullptr;
}

nlohmann::json identity(const fs::path& source, const Recipe& recipe, const RunOptions& options) {
  nlohmann::json identity = {{"version", options.version},
                             {"recipe", recipe_json(recipe)},
                             {"memory", options.memory},
                             {"budget", budget_json(options.budget)},
                             {"source", fs::absolute(source).lexically_normal().string()}};
  for (const auto& entry : fs::directory_iterator(source))
    if (entry.is_regular_file()) identity["files"][entry.path().filename().string()] = stamp(entry.path());
  if (std::error_code error; fs::is_regular_file(recipe.calibration.source, error))
    identity["calibration"] = stamp(recipe.calibration.source);
  return identity;
}

void write_recipe(const fs::path& file, const Recipe& recipe) {
  std::ofstream stream(file);
  stream << recipe_json(recipe).dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
  stream.close();
  if (!stream) fail("{}: cannot write", file.string());
}

// What a safetensors header says of a tensor, at most: its name comes on top.
constexpr int64_t header_bytes = 160;

// The stages of one run, one after the other.
class Run {
 public:
  Run(const fs::path& source, const Recipe& recipe, const Team& team, const RunOptions& options,
      const Progress& progress)
      : source_(source),
        recipe_(options.budget ? smallest_recipe(recipe) : recipe),
        plan_(plan_quantization(recipe_, source_)),
        team_(team),
        options_(options),
        progress_(progress) {
    if (options.budget) require_choice();
    // A pipe may keep us waiting: as long as signals are not held back.
    if (recipe_.method != MethodName::rtn && recipe_.calibration.source != "self") text_ = draw_text({});
    if (recipe_.rotation == RotationName::none) return;
    const RotationOptions rotation = {.residual = recipe_.rotation == RotationName::all, .values = true};
    if (rotation.residual && residual_rotation(source_).unties)
      fail(
          "{}: the residual stream cannot be rotated while embedding and head are one matrix: the gain of "
          "the norm before the head moves into the head alone",
          source.string());
    rotated_.emplace(source_, rotation, team_);
  }

  QuantizationReport quantize(const fs::path& out) {
    OutputFolder folder(out);  // holds signals back until all below is gone
    folder.copy_side_files(source_.file().folder());
    std::optional<WorkFolder> work;
    std::unique_ptr<Method> method;
    if (recipe_.method == MethodName::rtn) {
      remove_if_abandoned(WorkFolder::path_for(out));
      method = std::make_unique<RoundToNearest>(base(), changed(), team_);
    } else {
      begin(out, work);
      std::unique_ptr<CalibratedMethod> found = options_.budget ? within_budget() : calibrated("");
      method = recipe_.tuning_tokens ? tuned(std::move(found)) : std::move(found);
    }
    report_.notes = plan_.notes(source_.inventory());
    write(folder.path(), *method);
    source_.file().check_unchanged();
    write_recipe(folder.path() / recipe_file_name, recipe_);
    nlohmann::json config = source_.file().config();
    config["quantization_config"] = quantization_config_json(plan_.modules, plan_.kept);
    if (!plan_.copies.empty()) config["tie_word_embeddings"] = false;
    folder.commit(config);
    if (work) work->finish();
    report_.recipe = recipe_;
    return std::move(report_);
  }

  std::vector<FrontierPoint> frontier(const fs::path& out, const std::vector<double>& target_bits) {
    const HeldInterrupts held;
    check_free_folder(final_path_of(out));
    HiddenSibling folder(final_path_of(out), HiddenSibling::Kind::folder);
    std::optional<WorkFolder> work;
    begin(out, work);
    const BudgetSolver solver = measure();
    std::vector<FrontierPoint> points;
    for (const double bits : target_bits) {
      const MixedRecipe mixed = solver.solve({.bits = bits});
      use(mixed.recipe);
      const std::string name = fmt::format("{}", bits);
      calibrated(name + " bits.");
      points.push_back({bits, mixed.bits, mixed.predicted_kl, report_.held_out});
      write_recipe(folder.path() / (name + ".json"), mixed.recipe);
    }
    source_.file().check_unchanged();
    sync_to_disk(folder.path());
    check_interrupted();
    folder.rename();
    work->finish();
    return points;
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

  // What is quantized: the source, or the same in other coordinates.
  const WeightSource& base() const {
    return rotated_ ? static_cast<const WeightSource&>(*rotated_) : source_;
  }
  std::function<bool(const Module&)> changed() const {
    if (!rotated_) return {};
    return [this](const Module& module) { return rotated_->changed(module); };
  }
  CalibratedOptions calibrated_options(const std::string& prefix) const {
    return {.memory = options_.memory,
            .original = rotated_ ? &source_ : nullptr,
            .changed = changed(),
            .prefix = prefix};
  }

  void use(const Recipe& recipe) {
    recipe_ = recipe;
    plan_ = plan_quantization(recipe_, source_);
  }

  // What every method needs that looks at inputs.
  void begin(const fs::path& out, std::optional<WorkFolder>& work) {
    work.emplace(out, identity(source_.file().folder(), recipe_, options_), options_.resume);
    work_ = &*work;
    // Weights run before their turn comes to be written.
    stage("check", [&](const StageProgress&) { require_finite_model(source_, team_); });
    stage("calibration text", [&](const StageProgress& progress) {
      if (std::optional<CalibrationText> saved = load_calibration(*work_)) {
        text_ = std::move(*saved);
        return;
      }
      if (text_.windows.empty())
        text_ = draw_text([&](int64_t done, int64_t total) { progress(done, total, "tokens"); });
      save(*work_, text_);
    });
    split_text();
    if (text_.held_out.ids.empty() && (recipe_.tuning_tokens || options_.budget.kl))
      fail("{}: text of one window, where one more is needed to judge the result by", text_.from);
    if (recipe_.tuning_tokens && std::ssize(tuning_windows_) < TuningOptions().windows_at_once)
      fail("{}: {} windows to tune on, where a step takes {}", text_.from, tuning_windows_.size(),
           TuningOptions().windows_at_once);
  }

  CalibrationText draw_text(const CalibrationProgress& progress) const {
    CalibrationChoice choice = recipe_.calibration;
    choice.tokens = std::max(choice.tokens, recipe_.tuning_tokens);
    return calibration_text(choice, source_, options_.memory, team_, progress);
  }

  // A budget is spent on the layers' linears.
  void require_choice() const {
    for (const Module& module : source_.inventory().modules())
      if (module.kind() == ModuleKind::linear && module.layer >= 0 && plan_.find(module.name)) return;
    fail_option("exclude", "keeps every linear of the layers: a budget has nothing to choose for");
  }

  // Layers are calibrated on the first of the text, tuning sees all of it.
  void split_text() {
    tuning_windows_ = text_.windows;
    int64_t tokens = 0;
    size_t count = 0;
    while (count < text_.windows.size() && tokens < recipe_.calibration.tokens)
      tokens += std::ssize(text_.windows[count++]);
    text_.windows.resize(count);
  }

  // The plan as it stands. prefix: of the names under which its modules are kept.
  std::unique_ptr<CalibratedMethod> calibrated(const std::string& prefix) {
    auto method =
        std::make_unique<CalibratedMethod>(base(), plan_, text_, calibrated_options(prefix), *work_, team_);
    stage("layers", [&](const StageProgress& progress) { method->prepare(progress); });
    report_.held_out = method->drift();
    return method;
  }

  // A text that is shorter than what was asked for is gone through more than once.
  TuningOptions tuning_options() const {
    int64_t tokens = 0;
    for (const std::vector<int32_t>& window : tuning_windows_) tokens += std::ssize(window);
    return {.passes = std::max<int64_t>(1, recipe_.tuning_tokens / tokens)};
  }

  std::unique_ptr<Method> tuned(std::unique_ptr<CalibratedMethod> before) {
    const auto stored = [this](const Module& norm, float weight) {
      const DType dtype = source_.file().get(norm.name + ".weight").dtype;
      return decode_floats(float_bytes({&weight, 1}, dtype), dtype).front();
    };
    auto method = std::make_unique<TunedMethod>(std::move(before), base(), plan_, tuning_windows_,
                                                text_.held_out, tuning_options(), stored, *work_, team_);
    stage("tuning", [&](const StageProgress& progress) { method->prepare(progress); });
    report_.held_out = method->drift();
    return method;
  }

  BudgetSolver measure() {
    Sensitivity sensitivity;
    stage("tensors", [&](const StageProgress& progress) {
      sensitivity =
          measure_sensitivity(base(), plan_, text_, calibrated_options("smallest."), *work_, team_, progress);
    });
    int64_t weights = 0, smallest = 0, file = 0;
    for (const Tensor& tensor : sensitivity.tensors) {
      const Module& module = *source_.inventory().find(tensor.name);
      weights += module.rows * module.cols;
      smallest += tensor.candidates.front().bytes;
    }
    for (const TensorInfo& tensor : outline(source_, plan_))
      file += *tensor_bytes(tensor.dtype, tensor.shape) + header_bytes + std::ssize(tensor.name);
    return {recipe_, std::move(sensitivity), weights, file - smallest};
  }

  std::unique_ptr<CalibratedMethod> within_budget() {
    const BudgetSolver solver = measure();
    if (options_.budget.kl) return below_kl(solver, *options_.budget.kl);
    return mixed(solver.solve(options_.budget), "mixed.");
  }

  std::unique_ptr<CalibratedMethod> mixed(const MixedRecipe& mixed, const std::string& prefix) {
    use(mixed.recipe);
    report_.predicted_kl = mixed.predicted_kl;
    return calibrated(prefix);
  }

  // The smallest mix that was seen to keep the limit. What was predicted of a mix and then measured says what
  // to ask for next.
  std::unique_ptr<CalibratedMethod> below_kl(const BudgetSolver& solver, double limit) {
    constexpr int most_tries = 8;
    constexpr double aim = 0.97, near_enough = 0.9;  // of the limit
    struct Try {
      MixedRecipe mix;
      std::string prefix;
    };
    std::vector<Try> tries;
    std::optional<size_t> kept;
    double asked = limit, least = std::numeric_limits<double>::infinity();
    while (std::ssize(tries) < most_tries) {
      const MixedRecipe mix = solver.solve_kl(asked);
      if (std::ranges::any_of(tries, [&](const Try& before) { return before.mix.recipe == mix.recipe; }))
        break;
      tries.push_back({mix, fmt::format("try {}.", tries.size())});
      std::unique_ptr<CalibratedMethod> method = mixed(mix, tries.back().prefix);
      const double kl = report_.held_out->kl.mean;
      if (kl <= limit && kl >= near_enough * limit) return method;
      if (kl <= limit && (!kept || mix.bits < tries[*kept].mix.bits)) kept = tries.size() - 1;
      least = std::min(least, kl);
      asked = mix.predicted_kl * aim * limit / kl;
    }
    if (kept) return mixed(tries[*kept].mix, tries[*kept].prefix);
    fail_option("max_kl",
                "no mix of formats was found that keeps a mean KL divergence of {}; the least was {}", limit,
                least);
  }

  std::map<std::string, std::string> provenance(const Method& method) const {
    std::map<std::string, std::string> metadata = {{"format", "pt"},
                                                   {"whittle.version", options_.version},
                                                   {"whittle.recipe", recipe_.text()},
                                                   {"whittle.method", method.text()}};
    if (const auto& held_out = report_.held_out)
      metadata["whittle.held_out"] =
          fmt::format("mean KL {:.6f}, perplexity {:.4f} from {:.4f}, over {} tokens in {} windows",
                      held_out->kl.mean, held_out->model_perplexity(), held_out->baseline_perplexity(),
                      held_out->tokens_scored, held_out->windows);
    return metadata;
  }

  void write(const fs::path& folder, Method& method) {
    stage("writing", [&](const StageProgress& progress) {
      QuantizedWriter weights(source_, plan_, method, team_, progress);
      const fs::path path = folder / "model.safetensors";
      SafetensorsWriter writer(path, outline(source_, plan_), provenance(method));
      report_.weights = weights.write(writer);
      writer.finish();
      report_.written_bytes = static_cast<int64_t>(fs::file_size(path));
      report_.source_bytes = source_.file().disk_bytes();
    });
  }

  const FolderWeights source_;
  std::optional<RotatedWeights> rotated_;
  Recipe recipe_;
  QuantizationPlan plan_;
  const Team& team_;
  const RunOptions& options_;
  const Progress& progress_;
  WorkFolder* work_ = nullptr;
  CalibrationText text_;
  std::vector<std::vector<int32_t>> tuning_windows_;
  QuantizationReport report_;
};

}  // namespace

QuantizationReport quantize(const fs::path& source, const fs::path& out, const Recipe& recipe,
                            const Team& team, const RunOptions& options, const Progress& progress) {
  if (options.budget && recipe.method == MethodName::rtn)
    fail("a budget is spent by what calibration measures; rounding alone measures nothing");
  return Run(source, recipe, team, options, progress).quantize(out);
}

std::vector<FrontierPoint> write_frontier(const fs::path& source, const fs::path& out, const Recipe& recipe,
                                          std::vector<double> target_bits, const Team& team,
                                          const RunOptions& options, const Progress& progress) {
  std::ranges::sort(target_bits);
  return Run(source, smallest_recipe(recipe), team, options, progress).frontier(out, target_bits);
}

}  // namespace whittle
