#include "quant/calibrated.h"

#include <algorithm>

#include "kernels/error.h"
#include "quant/float_matrix.h"
#include "quant/grid_search.h"
#include "quant/input_mismatch.h"
#include "quant/input_rounding.h"

namespace whittle {
namespace {

// Inputs that share an activation scale: weights in groups use theirs.
int64_t input_group(const QuantizationScheme& scheme) {
  return scheme.group_size ? scheme.group_size : scheme.activation_group_size;
}

}  // namespace

CalibratedMethod::CalibratedMethod(const WeightSource& source, const QuantizationPlan& plan,
                                   const CalibrationText& text, CalibratedOptions options, WorkFolder& work,
                                   const Team& team)
    : source_(source),
      plan_(plan),
      text_(text),
      options_(std::move(options)),
      work_(work),
      team_(team),
      replaced_(written()),
      stream_(std::in_place, source.spec(), text.windows, team,
              spill_folder(source.spec(), text.tokens(), options_.memory, work.path())) {
  const bool repaired = options_.rounding == LayerRounding::feedback && options_.gptq.repair_inputs;
  if (options_.block_tuning.steps && !repaired) fail("layers are tuned only beside the unquantized model's");
  if (repaired)
    unquantized_.emplace(source.spec(), text.windows, team,
                         spill_folder(source.spec(), text.tokens(), options_.memory, work.path()));
}

std::string CalibratedMethod::text() const {
  std::vector<std::string> parts;
  if (std::ranges::any_of(plan_.modules, [](const PlannedModule& module) { return bool(module.sparsity); }))
    parts.push_back(fmt::format("pruned by {}", name(options_.pruning)));
  if (std::ranges::any_of(plan_.modules, &PlannedModule::quantized)) {
    parts.emplace_back(options_.rounding == LayerRounding::blocks
                           ? "round to nearest, scales by what the inputs' products cost"
                           : "GPTQ, scales by the inputs' squares and fitted again");
    if (options_.rounding == LayerRounding::feedback && options_.gptq.beta != 0) parts.emplace_back("FOEM");
  }
  if (options_.rounding == LayerRounding::feedback && options_.gptq.repair_inputs)
    parts.emplace_back("Qronos");
  if (options_.block_tuning.steps)
    parts.push_back(
        fmt::format("{} steps of tuning for each layer, kept where they gain", options_.block_tuning.steps));
  return fmt::format("{}; calibration: {}", fmt::join(parts, ", "), text_.source());
}

void CalibratedMethod::prepare(const StageProgress& progress) {
  const Inventory& inventory = source_.inventory();
  use_outer(replaced_, inventory.embedding(), inventory.embedding_name());
  stream_->embed(replaced_);
  if (unquantized_) unquantized_->embed(source_);
  if (options_.judge) options_.judge->begin(replaced_);
  const int64_t layers = source_.spec().num_hidden_layers;
  for (int64_t i = 0; i < layers; ++i) {
    progress(i, layers, fmt::format("layer {}", i));
    run_layer(i);
  }
  stream_.reset();
  unquantized_.reset();
  if (!options_.judge) return;
  progress(layers, layers, "held-out text");
  use_outer(replaced_, inventory.head(), inventory.head_name());
  drift_ = options_.judge->end(replaced_);
}

DriftReport CalibratedMethod::judge(const ReplacedWeights& layers) const {
  const Inventory& inventory = source_.inventory();
  ReplacedWeights model(static_cast<const WeightSource&>(layers));
  use_outer(model, inventory.embedding(), inventory.embedding_name());
  options_.judge->begin(model);
  for (int64_t i = 0; i < source_.spec().num_hidden_layers; ++i)
    options_.judge->pass(load_layer(model, i, team_), i);
  use_outer(model, inventory.head(), inventory.head_name());
  return options_.judge->end(model);
}

QuantizedMatrix CalibratedMethod::quantize(const Module& module, const QuantizationScheme& scheme) {
  std::optional<QuantizedMatrix> found =
      work_.load_module(options_.prefix + module.name, scheme, module.rows, module.cols);
  return found ? std::move(*found) : round_to_nearest(source_, module, scheme, team_);
}

void CalibratedMethod::use(const Module& module, const QuantizationScheme& scheme,
                           const QuantizedMatrix& matrix) {
  replaced_.replace(module.name, {matrix.matrix, scheme.activation_group_size});
}

void CalibratedMethod::use_outer(ReplacedWeights& weights, const Module& module,
                                 const std::string& written_as) const {
  weights.restore(module.name);
  if (const PlannedModule* plan = plan_.find(plan_.copies.empty() ? module.name : written_as))
    weights.replace(module.name, {round_to_nearest(source_, module, plan->scheme, team_).matrix,
                                  plan->scheme.activation_group_size});
}

InputStatistics CalibratedMethod::statistics(const Module& reader, Hessian&& hessian,
                                             CrossMoment* cross) const {
  if (options_.rounding == LayerRounding::blocks)
    return input_statistics(reader.name, std::move(hessian), team_);
  return input_statistics(reader.name, std::move(hessian), options_.gptq, team_,
                          cross ? cross->mean(team_) : std::vector<float>{});
}

QuantizedMatrix CalibratedMethod::round(const WeightMatrix& weights, const QuantizationScheme& scheme,
                                        const InputStatistics& inputs, std::span<const float> pruned) const {
  return with_best_scale_type(scheme, [&](DType type) {
    if (options_.rounding == LayerRounding::feedback)
      return gptq(weights, scheme, type, inputs, options_.gptq, team_, pruned);
    return round_by_blocks(pruned.empty() ? weights : borrowed_floats(pruned, weights.rows, weights.cols),
                           scheme, type, inputs, team_);
  });
}

// Pruned, then rounded, or one of the two.
QuantizedMatrix CalibratedMethod::change(const WeightMatrix& weights, const PlannedModule& plan,
                                         const InputStatistics& inputs) const {
  if (!plan.sparsity) return round(weights, plan.scheme, inputs, {});
  const std::vector<float> values = float_values(weights, team_);
  const InputMismatch mismatch = input_mismatch(values, weights.rows, inputs, team_);
  const PruningTask task{.weights = mismatch.weights.empty() ? values : mismatch.weights,
                         .rows = weights.rows,
                         .cols = weights.cols,
                         .sparsity = plan.sparsity,
                         .damping = options_.gptq.damping,
                         .inputs = &inputs};
  const std::vector<float> pruned = prune(options_.pruning, task, team_);
  QuantizedMatrix out = plan.quantized() ? round(weights, plan.scheme, inputs, pruned)
                                         : as_floats(plan.name, weights, pruned, plan.scheme.format, team_);
  const OutputError error = output_error(weights, out.matrix, inputs, team_);
  out.output_error = error.relative();
  out.output_power = error.power;
  return out;
}

void CalibratedMethod::run_layer(int64_t index) {
  quantize_layer(index);
  const bool last = index + 1 == source_.spec().num_hidden_layers;
  if (!last || options_.judge) {
    const DecoderLayer layer = load_layer(replaced_, index, team_);
    if (!last) stream_->pass(layer, index, KvFormat::f16, true);
    if (options_.judge) options_.judge->pass(layer, index);
  }
  for (const Module& module : source_.inventory().layer(index)) replaced_.restore(module.name);
}

// Of the layer's linears, those that are finished; roundings that were tuned together count only as a whole.
std::map<std::string, QuantizedMatrix> CalibratedMethod::finished(int64_t index) const {
  std::map<std::string, QuantizedMatrix> found;
  for (const Module& module : source_.inventory().layer(index)) {
    const PlannedModule* plan = planned_linear(module);
    if (!plan) continue;
    if (std::optional<QuantizedMatrix> saved =
            work_.load_module(options_.prefix + module.name, plan->scheme, module.rows, module.cols))
      found[module.name] = std::move(*saved);
    else if (options_.block_tuning.steps)
      return {};
  }
  return found;
}

const PlannedModule* CalibratedMethod::planned_linear(const Module& module) const {
  return module.kind() == ModuleKind::linear ? plan_.find(module.name) : nullptr;
}

void CalibratedMethod::quantize_layer(int64_t index) {
  const Inventory& inventory = source_.inventory();
  const std::map<std::string, QuantizedMatrix> done = finished(index);
  std::map<Role, std::vector<const Module*>> readers;
  std::map<Role, Hessian> hessians;
  std::map<Role, CrossMoment> cross;
  std::map<std::pair<Role, int64_t>, InputRounding> rounding;  // by the inputs that share a scale, too
  for (const Module& module : inventory.layer(index)) {
    const PlannedModule* plan = planned_linear(module);
    if (!plan) continue;
    if (const auto saved = done.find(module.name); saved != done.end()) {
      use(module, plan->scheme, saved->second);
      continue;
    }
    const Role role = observed_role(inventory, module);
    readers[role].push_back(&module);
    hessians.try_emplace(role, module.cols);
    if (plan->quantized())
      rounding.try_emplace({role, input_group(plan->scheme)}, module.cols, input_group(plan->scheme));
    if (unquantized_) cross.try_emplace(role, module.cols);
  }
  const auto seen = [&](Role role, FloatRows rows, FloatRows unquantized) {
    const auto wanted = hessians.find(role);
    if (wanted == hessians.end()) return;
    wanted->second.add(team_, rows);
    for (auto& [of, inputs] : rounding)
      if (of.first == role) inputs.add(team_, rows);
    if (unquantized_) cross.at(role).add(team_, rows, unquantized);
  };
  if (unquantized_)
    stream_->pass_beside(*unquantized_, load_layer(source_, index, team_), index, seen);
  else if (!readers.empty())
    stream_->pass(load_layer(source_, index, team_), index, KvFormat::f16, false,
                  [&](Role role, FloatRows rows) { seen(role, rows, {}); });
  std::map<Role, InputStatistics> read;  // where it is asked for once more
  TuningTask task{.original = source_, .written = written(), .training = text_.windows};
  for (auto& [role, modules] : readers) {
    InputStatistics inputs =
        statistics(*modules.front(), std::move(hessians.at(role)), unquantized_ ? &cross.at(role) : nullptr);
    cross.erase(role);
    for (const Module* module : modules) {
      const PlannedModule& plan = *plan_.find(module->name);
      const QuantizationScheme& scheme = plan.scheme;
      const WeightMatrix weights = source_.matrix(*module);
      if (options_.look) options_.look(*module, weights, inputs);
      QuantizedMatrix matrix = change(weights, plan, inputs);
      if (plan.quantized())
        matrix.input_error =
            rounding.at({role, input_group(scheme)}).relative_error(weights, matrix.output_power, team_);
      source_.release(weights);
      if (options_.block_tuning.steps)
        task.matrices[module->name] = {std::move(matrix), scheme.activation_group_size, bool(plan.sparsity)};
      else
        keep(*module, scheme, matrix);
    }
    if (options_.block_tuning.steps) {
      inputs.factor = inputs.cross = {};
      read[role] = std::move(inputs);
    }
  }
  if (task.matrices.empty()) return;
  TunedBlock tuned = tune_block(task, index, *stream_, *unquantized_, options_.block_tuning, team_);
  for (const auto& [role, modules] : readers)
    for (const Module* module : modules) {
      QuantizedMatrix& matrix = tuned.matrices.at(module->name);
      const WeightMatrix weights = source_.matrix(*module);
      matrix.output_error = output_error(weights, matrix.matrix, read.at(role), team_).relative();
      source_.release(weights);
      keep(*module, plan_.find(module->name)->scheme, matrix);
    }
}

void CalibratedMethod::keep(const Module& module, const QuantizationScheme& scheme,
                            const QuantizedMatrix& matrix) {
  work_.save_module(options_.prefix + module.name, matrix);
  use(module, scheme, matrix);
}

}  // namespace whittle
