#include "quant/tuned.h"

#include <fmt/format.h>

#include <cstring>

#include "kernels/error.h"

namespace whittle {
namespace {

constexpr const char* checkpoint_name = "tuning";

void save(WorkFolder& work, const char* name, const TuningState& state) {
  const std::vector<std::byte> bytes = state.serialize();
  const WorkFolder::Part parts[] = {{"state", DType::U8, bytes}};
  work.save(name, parts, nlohmann::json::object());
}

std::optional<TuningState> load(const WorkFolder& work, const char* name) {
  const std::optional<SafetensorsFile> saved = work.open(name);
  if (!saved) return std::nullopt;
  for (const TensorView& tensor : saved->tensors())
    if (tensor.name == "state") return TuningState::deserialize(tensor.bytes);
  fail("{}: no state of a tuning run", saved->path().string());
}

}  // namespace

TunedMethod::TunedMethod(std::unique_ptr<CalibratedMethod> calibrated, const WeightSource& source,
                         const QuantizationPlan& plan, const std::vector<std::vector<int32_t>>& training,
                         const TuningOptions& options,
                         std::function<float(const Module& norm, float weight)> stored, WorkFolder& work,
                         const Team& team)
    : calibrated_(std::move(calibrated)),
      source_(source),
      plan_(plan),
      training_(training),
      options_(options),
      stored_(std::move(stored)),
      work_(work),
      team_(team),
      tuned_(calibrated_->written()) {}

std::string TunedMethod::text() const {
  return fmt::format(
      "{}; then tuned by the gradient of KL, {} passes, step {} kept: held out {:.6f} to {:.6f}",
      calibrated_->text(), options_.passes, result_.best_step, result_.kl_before, result_.kl_after);
}

void TunedMethod::prepare(const StageProgress& progress) {
  TuningTask task{
      .original = source_, .written = calibrated_->written(), .training = training_, .stored = stored_};
  task.judge = [&](const ReplacedWeights& model) { return calibrated_->judge(model).kl.mean; };
  for (const Module& module : source_.inventory().modules()) {
    const PlannedModule* plan = module.kind() == ModuleKind::linear ? plan_.find(module.name) : nullptr;
    if (plan && module.layer >= 0)
      task.matrices[module.name] = {calibrated_->quantize(module, plan->scheme),
                                    plan->scheme.activation_group_size, bool(plan->sparsity)};
  }
  TuningHooks hooks;
  hooks.progress = [&](int64_t step, int64_t steps, double kl) {
    progress(step, steps, fmt::format("KL {:.5f}", kl));
  };
  hooks.checkpoint = [&](const TuningState& state) { save(work_, checkpoint_name, state); };
  const std::optional<TuningState> before = load(work_, checkpoint_name);
  result_ = tune(task, options_, team_, hooks, before ? &*before : nullptr);

  for (const auto& [name, norm] : result_.norms) tuned_.replace_norm(name, norm);
  ReplacedWeights model(tuned_);
  for (const auto& [name, matrix] : result_.matrices)
    model.replace(name, {matrix.matrix, task.matrices.at(name).activation_group_size});
  drift_ = calibrated_->judge(model);
}

const WeightSource* TunedMethod::changed(const Module& module) const {
  return result_.norms.contains(module.name) ? &tuned_ : calibrated_->changed(module);
}

QuantizedMatrix TunedMethod::quantize(const Module& module, const QuantizationScheme& scheme) {
  const auto found = result_.matrices.find(module.name);
  return found != result_.matrices.end() ? found->second : calibrated_->quantize(module, scheme);
}

}  // namespace whittle
