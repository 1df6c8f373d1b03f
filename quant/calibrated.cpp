#include "quant/calibrated.h"

#include <algorithm>

#include "engine/files/interrupts.h"

namespace whittle {
namespace {

// Whose inputs an observer is shown for this linear's.
Role observed_as(const Inventory& inventory, const Module& linear) {
  const Module& first = *inventory.readers_beside(linear).front();
  return first.role == Role::qkv ? Role::q : first.role;
}

}  // namespace

CalibratedMethod::CalibratedMethod(const WeightSource& source, const QuantizationPlan& plan,
                                   const CalibrationText& text, const GptqOptions& options, WorkFolder& work,
                                   int64_t memory, const Team& team)
    : source_(source),
      plan_(plan),
      text_(text),
      options_(options),
      work_(work),
      memory_(memory),
      team_(team),
      replaced_(source),
      stream_(source.spec(), text.windows, team, spill(text.tokens())) {
  const std::vector<std::vector<int32_t>>& windows = text.held_out.ids;
  if (windows.empty()) return;
  int64_t tokens = 0;
  for (const std::vector<int32_t>& window : windows) tokens += std::ssize(window);
  held_out_.emplace(HeldOut{TokenStream(source.spec(), windows, team, spill(tokens)),
                            TokenStream(source.spec(), windows, team, spill(tokens))});
}

std::string CalibratedMethod::text() const {
  return "GPTQ, scales by the inputs' squares and fitted again; calibration: " + text_.source;
}

std::filesystem::path CalibratedMethod::spill(int64_t tokens) const {
  constexpr int64_t share = 8;
  const auto bytes = static_cast<int64_t>(sizeof(float)) * tokens * source_.spec().hidden_size;
  return bytes > memory_ / share ? work_.path() : std::filesystem::path();
}

void CalibratedMethod::prepare(const StageProgress& progress) {
  const Inventory& inventory = source_.inventory();
  use_outer(inventory.embedding(), inventory.embedding_name());
  stream_.embed(replaced_);
  if (held_out_) {
    held_out_->baseline.embed(source_);
    held_out_->model.embed(replaced_);
  }
  const int64_t layers = source_.spec().num_hidden_layers;
  for (int64_t i = 0; i < layers; ++i) {
    progress(i, layers, fmt::format("layer {}", i));
    run_layer(i);
  }
  progress(layers, layers, "held-out text");
  if (!held_out_) return;
  use_outer(inventory.head(), inventory.head_name());
  drift_ = compare();
}

QuantizedMatrix CalibratedMethod::quantize(const Module& module, const QuantizationScheme& scheme) {
  std::optional<QuantizedMatrix> found = work_.load_module(module.name, scheme, module.rows, module.cols);
  return found ? std::move(*found) : round_to_nearest(source_, module, scheme, team_);
}

void CalibratedMethod::use(const Module& module, const QuantizationScheme& scheme,
                           const QuantizedMatrix& matrix) {
  replaced_.replace(module.name, {matrix.matrix, scheme.activation_group_size});
}

// A tied matrix that becomes two is read once as the one, once as the other.
void CalibratedMethod::use_outer(const Module& module, const std::string& written_as) {
  replaced_.restore(module.name);
  if (const QuantizedModule* plan = plan_.find(plan_.copies.empty() ? module.name : written_as))
    use(module, plan->scheme, round_to_nearest(source_, module, plan->scheme, team_));
}

void CalibratedMethod::run_layer(int64_t index) {
  {
    const DecoderLayer layer = load_layer(source_, index, team_);
    quantize_layer(index, layer);
    if (held_out_) held_out_->baseline.pass(layer, index, KvFormat::f32, true);
  }
  const bool last = index + 1 == source_.spec().num_hidden_layers;
  const DecoderLayer layer = load_layer(replaced_, index, team_);
  if (!last) stream_.pass(layer, index, KvFormat::f16, true);
  if (held_out_) held_out_->model.pass(layer, index, KvFormat::f16, true);
  for (const Module& module : source_.inventory().layer(index)) replaced_.restore(module.name);
}

void CalibratedMethod::quantize_layer(int64_t index, const DecoderLayer& layer) {
  const Inventory& inventory = source_.inventory();
  std::map<Role, std::vector<const Module*>> readers;
  std::map<Role, Hessian> hessians;
  for (const Module& module : inventory.layer(index)) {
    const QuantizedModule* plan = module.kind() == ModuleKind::linear ? plan_.find(module.name) : nullptr;
    if (!plan) continue;
    if (const auto done = work_.load_module(module.name, plan->scheme, module.rows, module.cols)) {
      use(module, plan->scheme, *done);
      continue;
    }
    const Role role = observed_as(inventory, module);
    readers[role].push_back(&module);
    hessians.try_emplace(role, module.cols);
  }
  if (readers.empty()) return;
  stream_.pass(layer, index, KvFormat::f16, false, [&](Role role, FloatRows rows) {
    const auto wanted = hessians.find(role);
    if (wanted != hessians.end()) wanted->second.add(team_, rows);
  });
  for (auto& [role, modules] : readers) {
    const InputStatistics inputs = input_statistics(std::move(hessians.at(role)), options_);
    for (const Module* module : modules) {
      const QuantizationScheme& scheme = plan_.find(module->name)->scheme;
      const WeightMatrix weights = source_.matrix(*module);
      QuantizedMatrix matrix = with_best_scale_type(
          scheme, [&](DType type) { return gptq(weights, scheme, type, inputs, options_, team_); });
      matrix.output_power = output_power(weights, inputs, team_);
      source_.release(weights);
      work_.save_module(module->name, matrix);
      use(*module, scheme, matrix);
    }
  }
}

DriftReport CalibratedMethod::compare() {
  const ModelSpec& spec = source_.spec();
  const int64_t most = logit_rows(spec.vocab_size);
  OutputHead baseline(source_, most, team_), model(replaced_, most, team_);
  DriftMeter meter(text_.held_out, team_);
  std::vector<float> of_baseline(static_cast<size_t>(most * spec.hidden_size)), of_model(of_baseline.size());
  for (size_t w = 0; w < text_.held_out.ids.size(); ++w) {
    check_interrupted();
    const int64_t predicting = std::ssize(text_.held_out.ids[w]) - 1;  // nothing follows the last token
    for (int64_t first = 0; first < predicting; first += most) {
      const int64_t rows = std::min(most, predicting - first);
      held_out_->baseline.read(w, first, rows, of_baseline.data());
      held_out_->model.read(w, first, rows, of_model.data());
      const Logits ours = model.run(of_model.data(), rows);
      meter.compare(w, first, baseline.run(of_baseline.data(), rows), ours);
    }
  }
  held_out_.reset();
  return meter.report();
}

}  // namespace whittle
