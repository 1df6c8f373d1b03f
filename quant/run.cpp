#include "quant/run.h"

#include <algorithm>
#include <fstream>

#include "bench/reports/table.h"
#include "engine/clock.h"
#include "engine/files/float_tensor.h"
#include "engine/files/json_file.h"
#include "engine/files/name_pattern.h"
#include "engine/files/safetensors_writer.h"
#include "kernels/error.h"
#include "kernels/option_error.h"
#include "quant/format_times.h"
#include "quant/large_model.h"
#include "quant/provenance.h"
#include "quant/pruning/allocation.h"
#include "quant/recipe_file.h"
#include "quant/rounded.h"
#include "quant/run_identity.h"
#include "quant/tuned.h"
#include "quant/weight_checks.h"

namespace whittle {

namespace fs = std::filesystem;

namespace {

std::optional<ScaleRule> scale_rule(MethodName method) {
  if (method == MethodName::awq) return ScaleRule::awq;
  if (method == MethodName::smoothquant) return ScaleRule::smoothquant;
  return std::nullopt;
}

// Whoever named one of them has decided.
bool may_choose_outer(const Inventory& inventory, const Recipe& recipe, const Budget& budget) {
  if (!budget.outer || !(budget.bytes || budget.kl) || recipe.embedding || recipe.lm_head) return false;
  return std::ranges::none_of(recipe.exclude, [&](const std::string& pattern) {
    const NamePattern excluded("re:.*(?:" + pattern + ")", "exclude");
    return excluded.matches(inventory.embedding_name()) || excluded.matches(inventory.head_name());
  });
}

}  // namespace

Run::Run(const fs::path& source, const Recipe& recipe, const Team& team, const RunOptions& options,
         const Progress& progress)
    : source_(source),
      choose_outer_(may_choose_outer(source_.inventory(), recipe, options.budget)),
      recipe_(options.budget ? smallest_recipe(recipe, choose_outer_) : recipe),
      plan_(plan_quantization(recipe_, source_)),
      team_(team),
      options_(options),
      progress_(progress) {
  if (options.budget) require_choice();
  if (recipe_.tuning_tokens) fit_tuning();
  if (recipe_.method != MethodName::rtn) {
    if (recipe_.calibration.source != "self") text_ = draw_text({});
    if (!recipe_.calibration.held_out.empty()) text_.held_out = held_out_text(recipe_.calibration, source_);
  }
  if (recipe_.rotation != RotationName::automatic) rotate(recipe_.rotation);
}

void Run::rotate(RotationName rotation) {
  recipe_.rotation = rotation;
  written_.reset();
  rotated_.reset();
  if (rotation == RotationName::none) return;
  const RotationOptions parts = {.residual = rotation == RotationName::all, .values = true};
  if (parts.residual && residual_rotation(source_).unties)
    fail(
        "{}: the residual stream cannot be rotated while embedding and head are one matrix: the gain of "
        "the norm before the head moves into the head alone",
        source_.file().folder().string());
  rotated_.emplace(source_, parts, team_);
  written_.emplace(*rotated_, source_, changed(), team_);
}

std::vector<RotationName> Run::rotations() const {
  std::vector<RotationName> all = {RotationName::none, RotationName::values};
  const ResidualRotation residual = residual_rotation(source_);
  if (residual.obstacle.empty() && !residual.unties) all.push_back(RotationName::all);
  return all;
}

nlohmann::json Run::identity() const {
  return run_identity(source_.file().folder(), recipe_json(recipe_), text_, options_);
}

template <class Body>
void Run::stage(const std::string& name, Body body) {
  const auto begin = Clock::now();
  body([&](int64_t done, int64_t total, const std::string& what) {
    if (progress_) progress_(name, done, total, what);
  });
  report_.stages.push_back({name, seconds_since(begin)});
}

// What is quantized: the source, or the same in other coordinates.
const WeightSource& Run::base() const { return scaled_ ? *scaled_ : unscaled(); }

const WeightSource& Run::unscaled() const {
  return rotated_ ? static_cast<const WeightSource&>(*rotated_) : source_;
}

std::function<bool(const Module&)> Run::changed() const {
  if (!rotated_ && !scaled_) return {};
  return [this](const Module& module) {
    return (rotated_ && rotated_->changed(module)) || (scaled_ && scaled_->changed(module));
  };
}

std::function<float(const Module&, float)> Run::stored() const {
  return [this](const Module& norm, float weight) {
    const DType dtype = source_.file().get(norm.name + ".weight").dtype;
    return decode_floats(float_bytes({&weight, 1}, dtype), dtype).front();
  };
}

void Run::scale(ScaleRule rule) {
  scaled_.emplace(unscaled(), team_);
  stage("scales", [&](const StageProgress& progress) {
    find_scales(rule, unscaled(), plan_, text_, options_.memory, stored(), *work_, team_, progress, *scaled_);
  });
  written_.emplace(*scaled_, source_, changed(), team_);
}

// Making good what the layers before have changed takes half as long again, for a twentieth of the drift:
// large models go without, unless their layers are tuned, which takes longer by far.
GptqOptions Run::gptq_options() const {
  return {.repair_inputs = recipe_.block_steps > 0 || !is_large(source_.inventory())};
}

CalibratedOptions Run::calibrated_options(const std::string& prefix) {
  return {.rounding = scaled_ ? LayerRounding::blocks : LayerRounding::feedback,
          .gptq = gptq_options(),
          .pruning = recipe_.pruning,
          .block_tuning = {.steps = recipe_.block_steps},
          .memory = options_.memory,
          .judge = judge_ ? &*judge_ : nullptr,
          .changed = changed(),
          .written = written_ ? &*written_ : nullptr,
          .prefix = prefix};
}

// Tuning end to end remembers three floats a weight, of all layers at once.
void Run::fit_tuning() {
  int64_t bytes = 0;
  for (const Module& module : source_.inventory().modules())
    if (module.layer >= 0 && plan_.find(module.name)) bytes += 3 * 4 * module.rows * module.cols;
  if (bytes <= options_.memory) return;
  recipe_.tuning_tokens = 0;
  report_.notes.push_back(fmt::format(
      "not tuned end to end: that takes {} beside the model, where {} are allowed",
      format_bytes(static_cast<double>(bytes)), format_bytes(static_cast<double>(options_.memory))));
}

// A budget is spent on the layers' linears.
void Run::require_choice() const {
  for (const Module& module : source_.inventory().modules())
    if (module.kind() == ModuleKind::linear && module.layer >= 0 && plan_.find(module.name)) return;
  fail_option("exclude", "keeps every linear of the layers: a budget has nothing to choose for");
}

CalibrationText Run::draw_text(const CalibrationProgress& progress) const {
  CalibrationChoice choice = recipe_.calibration;
  choice.tokens = std::max(choice.tokens, recipe_.tuning_tokens);
  return calibration_text(choice, source_, options_.memory, team_, progress);
}

// Layers are calibrated on the first of the text, tuning sees all of it.
void Run::split_text() {
  tuning_windows_ = text_.windows;
  int64_t tokens = 0;
  size_t count = 0;
  while (count < text_.windows.size() && tokens < recipe_.calibration.tokens)
    tokens += std::ssize(text_.windows[count++]);
  text_.windows.resize(count);
}

void Run::begin(WorkFolder& work) {
  work_ = &work;
  // Weights run before their turn comes to be written.
  stage("check", [&](const StageProgress&) {
    require_finite_model(source_, team_);
    require_scales(source_, base(), plan_, team_);
  });
  stage("calibration text", [&](const StageProgress& progress) {
    text_ = kept_text(work_, std::move(text_), [&] {
      return draw_text([&](int64_t done, int64_t total) { progress(done, total, "tokens"); });
    });
  });
  split_text();
  if (text_.held_out.ids.empty() &&
      (recipe_.tuning_tokens || options_.budget.kl || recipe_.rotation == RotationName::automatic))
    fail("{}: text of one window, where one more is needed to judge the result by", text_.from);
  require_unseen(recipe_.calibration, text_, tuning_windows_);
  if (recipe_.tuning_tokens && std::ssize(tuning_windows_) < TuningOptions().windows_at_once)
    fail("{}: {} windows to tune on, where a step takes {}", text_.from, tuning_windows_.size(),
         TuningOptions().windows_at_once);
  if (!text_.held_out.ids.empty())
    stage("held-out text", [&](const StageProgress& progress) {
      judge_.emplace(source_, text_.held_out,
                     spill_folder(source_.spec(), text_.held_out_tokens(), options_.memory, work.path()),
                     team_, progress);
    });
  if (recipe_.allocation != SparsityAllocation::uniform) share_sparsity();
  if (const std::optional<ScaleRule> rule = scale_rule(recipe_.method)) scale(*rule);
}

// From here on the recipe says of each linear what it loses.
void Run::share_sparsity() {
  constexpr const char* name = "sparsities";
  std::map<std::string, double> zeros;
  if (const std::optional<SafetensorsFile> saved = work_->open(name)) {
    const nlohmann::json facts = WorkFolder::facts(*saved);
    const JsonFields found = JsonFields(facts, saved->path().string()).object(name);
    for (const auto& [module, part] : found.object().items()) {
      if (!part.is_number()) found.reject(module.c_str(), "expected a number");
      zeros[module] = part.get<double>();
    }
  } else {
    stage(name, [&](const StageProgress& progress) {
      const AllocationTask task{.source = unscaled(),
                                .plan = plan_,
                                .text = text_,
                                .zeros = recipe_.sparsity.zeros,
                                .memory = options_.memory,
                                .spill = work_->path()};
      zeros = allocate_sparsity(recipe_.allocation, task, team_, progress);
    });
    work_->save(name, {}, {{name, zeros}});
  }
  Recipe recipe = recipe_;
  recipe.allocation = SparsityAllocation::uniform;
  for (const auto& [module, part] : zeros)
    recipe.modules.try_emplace(module, ModuleFormat{recipe.weights, recipe.group_size, {.zeros = part}});
  use(recipe);
}

BudgetSolver Run::measure() {
  Sensitivity sensitivity;
  stage("tensors", [&](const StageProgress& progress) {
    sensitivity = measure_sensitivity(source_, base(), plan_, text_, calibrated_options("smallest."), *work_,
                                      team_, progress);
  });
  if (!options_.budget.time) return {recipe_, std::move(sensitivity), source_, plan_, choose_outer_};
  std::vector<std::vector<int64_t>> times;
  stage("times", [&](const StageProgress& progress) { times = format_times(sensitivity, progress); });
  BudgetSolver solver(recipe_, std::move(sensitivity), source_, plan_, choose_outer_);
  solver.use_times(times);
  return solver;
}

// Of each candidate of each linear, then of embedding and head: the head's, and kept as they are they take as
// much longer as they are larger. Another run goes on with the same figures.
std::vector<std::vector<int64_t>> Run::format_times(const Sensitivity& sensitivity,
                                                    const StageProgress& progress) {
  constexpr const char* name = "times";
  if (const std::optional<SafetensorsFile> saved = work_->open(name))
    return WorkFolder::facts(*saved).at(name).get<std::vector<std::vector<int64_t>>>();
  FormatTimes times(team_);
  std::vector<std::vector<int64_t>> all;
  const auto count = std::ssize(sensitivity.tensors);
  for (const Tensor& tensor : sensitivity.tensors) {
    progress(std::ssize(all), count, tensor.name);
    const Module& module = *source_.inventory().find(tensor.name);
    std::vector<int64_t>& of_tensor = all.emplace_back();
    for (const ModuleFormat& format : candidate_formats())
      of_tensor.push_back(times.nanoseconds(linear_scheme(recipe_, format), module.rows, module.cols));
  }
  if (sensitivity.outer) {
    const Module& head = source_.inventory().head();
    const std::vector<Candidate>& candidates = sensitivity.outer->candidates;
    const int64_t planned =
        times.nanoseconds(linear_scheme(recipe_, {WeightFormat::int8, 0}), head.rows, head.cols);
    all.push_back({planned, planned * candidates.back().price / candidates.front().price});
  }
  work_->save(name, {}, {{name, all}});
  return all;
}

void Run::use(const Recipe& recipe) {
  recipe_ = recipe;
  plan_ = plan_quantization(recipe_, source_);
  require_scales(source_, base(), plan_, team_);
}

std::unique_ptr<Method> Run::rounded() const {
  return std::make_unique<RoundedMethod>(base(), plan_, changed(), team_);
}

std::unique_ptr<CalibratedMethod> Run::calibrated(const std::string& prefix) {
  auto method =
      std::make_unique<CalibratedMethod>(base(), plan_, text_, calibrated_options(prefix), *work_, team_);
  stage("layers", [&](const StageProgress& progress) { method->prepare(progress); });
  report_.held_out = method->drift();
  return method;
}

// A text that is shorter than what was asked for is gone through more than once.
TuningOptions Run::tuning_options() const {
  return {.passes = std::max<int64_t>(1, recipe_.tuning_tokens / tokens_of(tuning_windows_))};
}

std::unique_ptr<Method> Run::tuned(std::unique_ptr<CalibratedMethod> before) {
  auto method = std::make_unique<TunedMethod>(std::move(before), base(), plan_, tuning_windows_,
                                              tuning_options(), stored(), *work_, team_);
  stage("tuning", [&](const StageProgress& progress) { method->prepare(progress); });
  report_.held_out = method->drift();
  return method;
}

void Run::write(const fs::path& folder, Method& method) {
  judge_.reset();
  for (std::string& note : plan_.notes(source_.inventory())) report_.notes.push_back(std::move(note));
  stage("writing", [&](const StageProgress& progress) {
    QuantizedWriter weights(source_, plan_, method, team_, progress);
    const fs::path path = folder / "model.safetensors";
    SafetensorsWriter writer(path, outline(source_, plan_),
                             provenance(options_.version, recipe_.text(), method.text(), report_.held_out));
    report_.weights = weights.write(writer);
    writer.finish();
    report_.written_bytes = static_cast<int64_t>(fs::file_size(path));
    report_.source_bytes = source_.file().disk_bytes();
  });
  source_.file().check_unchanged();
  write_recipe(folder / recipe_file_name, recipe_);
  report_.recipe = recipe_;
}

nlohmann::json Run::config() const {
  nlohmann::json config = source_.file().config();
  const std::vector<QuantizedModule> quantized = plan_.quantized();
  const SparseModules sparse = plan_.sparse();
  if (!quantized.empty() || !sparse.names.empty())
    config["quantization_config"] = quantization_config_json(quantized, plan_.kept, sparse);
  if (!plan_.copies.empty()) config["tie_word_embeddings"] = false;
  return config;
}

void write_recipe(const fs::path& file, const Recipe& recipe) {
  std::ofstream stream(file);
  stream << recipe_json(recipe).dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
  stream.close();
  if (!stream) fail("{}: cannot write", file.string());
}

}  // namespace whittle
