#include "quant/calibrated.h"

#include <algorithm>

#include "engine/files/interrupts.h"
#include "engine/kv_cache.h"

namespace whittle {
namespace {

// Whose inputs an observer is shown for this linear's.
Role observed_as(const Inventory& inventory, const Module& linear) {
  const Module& first = *inventory.readers_beside(linear).front();
  return first.role == Role::qkv ? Role::q : first.role;
}

}  // namespace

CalibratedMethod::CalibratedMethod(const WeightSource& source, const QuantizationPlan& plan,
                                   CalibrationText text, const GptqOptions& options, const Team& team)
    : source_(source),
      plan_(plan),
      text_(std::move(text)),
      options_(options),
      team_(team),
      replaced_(source) {}

std::string CalibratedMethod::text() const {
  return "GPTQ, scales by the inputs' squares and fitted again; calibration: " + text_.source;
}

QuantizedMatrix CalibratedMethod::quantize(const Module& module, const QuantizationScheme& scheme) {
  if (module.layer < 0) return round_to_nearest(source_, module, scheme, team_);
  while (next_layer_ <= module.layer) run_layer(next_layer_++);
  return std::move(done_.at(module.name));
}

const QuantizedModule* CalibratedMethod::planned(const Module& module) const {
  const auto found = std::ranges::find(plan_.modules, module.name, &QuantizedModule::name);
  return module.kind() == ModuleKind::linear && found != plan_.modules.end() ? &*found : nullptr;
}

void CalibratedMethod::embed() {
  const ModelSpec& spec = source_.spec();
  const Inventory& inventory = source_.inventory();
  const auto width = static_cast<size_t>(spec.hidden_size);
  const WeightMatrix embedding = source_.matrix(inventory.embedding());
  WeightMatrix positions;
  if (const Module* table = inventory.find(Role::position_embedding)) positions = source_.matrix(*table);
  hidden_.resize(static_cast<size_t>(text_.tokens()) * width);
  std::vector<float> position(width);
  float* row = hidden_.data();
  for (const std::vector<int32_t>& window : text_.windows)
    for (size_t i = 0; i < window.size(); ++i, row += width) {
      embedding.decode_row(window[i], row);
      if (positions.rows == 0) continue;
      positions.decode_row(static_cast<int64_t>(i), position.data());
      for (size_t k = 0; k < width; ++k) row[k] += position[k];
    }
  if (const Module* norm = inventory.find(Role::embedding_norm)) {
    const LayerRunner runner(spec, {0}, team_, 1, 1);
    const Norm loaded = load_norm(source_, *norm);
    std::vector<float> before(width);
    for (row = hidden_.data(); row != hidden_.data() + hidden_.size(); row += width) {
      std::copy_n(row, width, before.begin());
      runner.apply(loaded, before.data(), spec.hidden_size, row);
    }
  }
  source_.release(embedding);
}

void CalibratedMethod::pass(const DecoderLayer& layer, int64_t index, const std::vector<int64_t>& group_sizes,
                            bool keep, const std::function<void(Role, FloatRows)>& seen) {
  const ModelSpec& spec = source_.spec();
  const int64_t longest = text_.longest();
  LayerRunner runner(spec, group_sizes, team_, longest, longest);
  KvCache cache(spec, KvFormat::f16, longest);
  // Shown while the team runs, and looked at when it is done.
  struct Seen {
    std::vector<float> values;
    FloatRows rows;
  };
  std::map<Role, Seen> inputs;
  Observer observer;
  observer.input = [&](int32_t, Role reader, FloatRows rows) {
    Seen& copy = inputs[reader];
    copy.values.assign(rows.values, rows.values + rows.rows * rows.stride);
    copy.rows = {rows.rows, rows.stride, copy.values.data()};
  };
  if (seen) runner.observe(&observer);
  std::vector<float> thrown_away;
  float* hidden = hidden_.data();
  for (const std::vector<int32_t>& window : text_.windows) {
    check_interrupted();
    const auto rows = static_cast<int64_t>(window.size());
    std::vector<DecoderRow> step;
    for (int64_t i = 0; i < rows; ++i) step.push_back({window[static_cast<size_t>(i)], &cache, i});
    float* stream = hidden;
    if (!keep) {
      thrown_away.assign(hidden, hidden + rows * spec.hidden_size);
      stream = thrown_away.data();
    }
    runner.run_alone(layer, static_cast<int32_t>(index), step, stream, spec.hidden_size);
    for (const auto& [reader, copy] : inputs) seen(reader, copy.rows);
    hidden += rows * spec.hidden_size;
  }
}

void CalibratedMethod::run_layer(int64_t index) {
  if (index == 0) embed();
  done_.clear();
  replaced_.restore_all();
  const Inventory& inventory = source_.inventory();
  std::map<Role, std::vector<const Module*>> readers;
  std::map<Role, Hessian> hessians;
  for (const Module& module : inventory.layer(index)) {
    if (!planned(module)) continue;
    const Role role = observed_as(inventory, module);
    readers[role].push_back(&module);
    hessians.try_emplace(role, module.cols);
  }
  if (!readers.empty()) {
    const DecoderLayer layer = load_layer(source_, index, team_);
    pass(layer, index, {0}, false, [&](Role role, FloatRows rows) {
      const auto wanted = hessians.find(role);
      if (wanted != hessians.end()) wanted->second.add(team_, rows);
    });
  }
  for (auto& [role, modules] : readers) {
    const InputStatistics inputs = input_statistics(std::move(hessians.at(role)), options_);
    for (const Module* module : modules) {
      const QuantizationScheme& scheme = planned(*module)->scheme;
      const WeightMatrix weights = source_.matrix(*module);
      QuantizedMatrix matrix = with_best_scale_type(
          scheme, [&](DType type) { return gptq(weights, scheme, type, inputs, options_, team_); });
      source_.release(weights);
      replaced_.replace(module->name, {matrix.matrix, scheme.activation_group_size});
      done_.emplace(module->name, std::move(matrix));
    }
  }
  if (index + 1 == source_.spec().num_hidden_layers) {
    hidden_ = {};
    return;
  }
  const DecoderLayer layer = load_layer(replaced_, index, team_);
  std::vector<int64_t> sizes;
  for (const Linear* linear : layer.linears())
    if (*linear && std::ranges::find(sizes, linear->activation_group_size()) == sizes.end())
      sizes.push_back(linear->activation_group_size());
  pass(layer, index, sizes, true, {});
}

}  // namespace whittle
