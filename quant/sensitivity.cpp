#include "quant/sensitivity.h"

#include <algorithm>
#include <iterator>

#include "bench/statistics.h"
#include "engine/files/json_file.h"
#include "quant/output_head.h"

namespace whittle {
namespace {

// Windows that every change is measured on: differences between two runs of one text settle soon.
constexpr size_t measured_windows = 8;

Recipe mixed_recipe() {
  Recipe recipe;
  recipe.activation_group_size = mixed_activation_group_size;
  return recipe;
}

QuantizationScheme scheme_as(const QuantizationScheme& smallest, const ModuleFormat& format) {
  QuantizationScheme scheme = linear_scheme(mixed_recipe(), format);
  scheme.symmetric = smallest.symmetric;
  return scheme;
}

class Measurement {
 public:
  Measurement(const WeightSource& original, const WeightSource& source, const QuantizationPlan& plan,
              const CalibrationText& text, const CalibratedOptions& options, WorkFolder& work,
              const Team& team)
      : original_(original),
        source_(source),
        plan_(plan),
        text_(text),
        options_(options),
        work_(work),
        team_(team) {
    options_.judge = nullptr;
    // What makes good the layers before is made for all of them as they are: one that is changed breaks it.
    options_.gptq.repair_inputs = false;
    options_.block_tuning.steps = 0;
    options_.look = [this](const Module& module, const WeightMatrix& weights, const InputStatistics& inputs) {
      look(module, weights, inputs);
    };
    for (const std::vector<int32_t>& window : text.windows)
      if (windows_.ids.size() < measured_windows) windows_.ids.push_back(window);
    windows_.first_scored = 1;
  }

  Sensitivity run(const StageProgress& progress) {
    modules_ = chosen_for();
    const auto all = static_cast<int64_t>(modules_.size());
    const int64_t layers = source_.spec().num_hidden_layers;
    // A layer takes about as long as a tensor's turn.
    CalibratedMethod base(source_, plan_, text_, options_, work_, team_);
    base.prepare([&](int64_t done, int64_t, const std::string& what) { progress(done, all + layers, what); });
    load_base(base);
    Sensitivity found;
    found.smallest_kl = kl(*model_);
    std::vector<double> savings;
    for (int64_t i = 0; i < all; ++i) {
      const Module& module = *modules_[static_cast<size_t>(i)];
      progress(layers + i, all + layers, module.name);
      savings.push_back(saved(module, found.smallest_kl));
    }
    settle(savings, found.smallest_kl - largest_kl());
    for (size_t i = 0; i < modules_.size(); ++i) found.tensors.push_back(tensor(*modules_[i], savings[i]));
    found.outer = outer(base, found.smallest_kl);
    if (found.outer) found.smallest_kl += found.outer->candidates.front().loss;
    progress(all + layers, all + layers, "");
    return found;
  }

 private:
  std::vector<const Module*> chosen_for() const {
    std::vector<const Module*> modules;
    for (const Module& module : source_.inventory().modules())
      if (module.kind() == ModuleKind::linear && module.layer >= 0 && plan_.find(module.name))
        modules.push_back(&module);
    return modules;
  }

  // Errors of the outputs, rounded to nearest: error feedback makes them smaller by much the same factor in
  // every format.
  void look(const Module& module, const WeightMatrix& weights, const InputStatistics& inputs) {
    const std::string name = "losses." + module.name;
    if (work_.open(name)) return;
    nlohmann::json losses = nlohmann::json::array();
    for (const ModuleFormat& format : candidate_formats()) {
      const QuantizationScheme scheme = scheme_as(plan_.find(module.name)->scheme, format);
      const QuantizedMatrix rounded =
          round_to_nearest(weights, scheme, scale_dtype(scheme), inputs.importance.data(), team_);
      losses.push_back(output_error(weights, rounded.matrix, inputs, team_).square);
    }
    work_.save(name, {}, {{"losses", losses}});
  }

  std::vector<double> losses(const Module& module) const {
    const auto saved = work_.open("losses." + module.name);
    std::vector<double> all;
    const nlohmann::json facts = saved ? WorkFolder::facts(*saved) : nlohmann::json::object();
    const nlohmann::json losses = facts.value("losses", nlohmann::json::array());
    for (const nlohmann::json& loss : losses) all.push_back(loss.get<double>());
    if (all.size() != candidate_formats().size())
      fail("{}: {}: what was measured is incomplete", work_.path().string(), quote(module.name));
    return all;
  }

  void load_base(CalibratedMethod& base) {
    const ModelSpec& spec = source_.spec();
    const auto stream = [&] {
      return TokenStream(
          spec, windows_.ids, team_,
          spill_folder(spec, tokens() * spec.num_hidden_layers, options_.memory, work_.path()));
    };
    base_.emplace(base.written());
    for (const Module* module : modules_) {
      const QuantizationScheme& scheme = plan_.find(module->name)->scheme;
      base_->replace(module->name, {base.quantize(*module, scheme).matrix, scheme.activation_group_size});
    }
    baseline_.emplace(stream());
    baseline_->embed(original_);
    model_.emplace(stream());
    model_->embed(*base_);
    for (int64_t i = 0; i < spec.num_hidden_layers; ++i) {
      before_.emplace_back(stream()).copy(*model_);
      baseline_->pass(load_layer(original_, i, team_), i, KvFormat::f32, true);
      layers_.push_back(load_layer(*base_, i, team_));
      model_->pass(layers_.back(), i, KvFormat::f16, true);
    }
    baseline_head_.emplace(original_, team_);
    model_head_.emplace(*base_, team_);
  }

  int64_t tokens() const { return tokens_of(windows_.ids); }

  double kl(const TokenStream& model) {
    return compare(windows_, *baseline_, *baseline_head_, model, *model_head_, team_).kl.mean;
  }

  // What the model saves when this tensor alone is in the largest format.
  double saved(const Module& module, double smallest_kl) {
    const std::string name = "saved." + module.name;
    if (const auto before = work_.open(name)) return WorkFolder::facts(*before).at("saved").get<double>();
    const QuantizationScheme largest = largest_scheme(module);
    ReplacedWeights changed(*base_);
    changed.replace(module.name, {round_to_nearest(source_, module, largest, team_).matrix,
                                  largest.activation_group_size});
    model_->copy(before_[static_cast<size_t>(module.layer)]);
    model_->pass(load_layer(changed, module.layer, team_), module.layer, KvFormat::f16, true);
    for (int64_t i = module.layer + 1; i < source_.spec().num_hidden_layers; ++i)
      model_->pass(layers_[static_cast<size_t>(i)], i, KvFormat::f16, true);
    const double difference = smallest_kl - kl(*model_);
    work_.save(name, {}, {{"saved", difference}});
    return difference;
  }

  // With every tensor in the largest format.
  double largest_kl() {
    ReplacedWeights largest(*base_);
    for (const Module* module : modules_) {
      const QuantizationScheme scheme = largest_scheme(*module);
      largest.replace(module->name, {round_to_nearest(source_, *module, scheme, team_).matrix,
                                     scheme.activation_group_size});
    }
    model_->copy(before_.front());
    for (int64_t i = 0; i < source_.spec().num_hidden_layers; ++i)
      model_->pass(load_layer(largest, i, team_), i, KvFormat::f16, true);
    return kl(*model_);
  }

  // All that was measured so far had embedding and head as floats.
  std::optional<Tensor> outer(const CalibratedMethod& base, double kept_kl) {
    const Inventory& inventory = source_.inventory();
    const Module &embedding = inventory.embedding(), &head = inventory.head();
    Candidate planned, kept;
    for (const auto& [name, scheme] : plan_.quantized())
      if (name == inventory.embedding_name() || name == inventory.head_name()) {
        const Module& module = name == inventory.head_name() ? head : embedding;
        planned.price += stored_bytes(scheme, module.rows, module.cols, scale_dtype(scheme));
      }
    if (planned.price == 0) return std::nullopt;
    for (const Module* module : {&embedding, &head})
      if (module == &embedding || !inventory.tied()) {
        const WeightMatrix matrix = original_.matrix(*module);
        kept.price += std::ssize(matrix.codes);
        original_.release(matrix);
      }
    ReplacedWeights weights(static_cast<const WeightSource&>(*base_));
    base.use_outer(weights, embedding, inventory.embedding_name());
    model_->embed(weights);
    for (size_t i = 0; i < layers_.size(); ++i)
      model_->pass(layers_[i], static_cast<int64_t>(i), KvFormat::f16, true);
    base.use_outer(weights, head, inventory.head_name());
    OutputHead quantized_head(weights, team_);
    const double kl = compare(windows_, *baseline_, *baseline_head_, *model_, quantized_head, team_).kl.mean;
    planned.loss = std::max(0.0, kl - kept_kl);
    return Tensor{"embedding and head", {planned, kept}};
  }

  // A saving that drowned in the others' noise is a small one; together they are what all were seen to save.
  static void settle(std::vector<double>& savings, double all) {
    constexpr double share = 0.01;  // of the median
    std::vector<double> positive;
    std::ranges::copy_if(savings, std::back_inserter(positive), [](double saving) { return saving > 0; });
    if (positive.empty() || !(all > 0)) return;
    const double least = share * median(positive);
    double sum = 0;
    for (double& saving : savings) sum += saving = std::max(saving, least);
    for (double& saving : savings) saving *= all / sum;
  }

  QuantizationScheme largest_scheme(const Module& module) const {
    return scheme_as(plan_.find(module.name)->scheme, candidate_formats().back());
  }

  Tensor tensor(const Module& module, double saving) const {
    const std::vector<double> errors = losses(module);
    const double removed = errors.front() - errors.back();
    const double rate = removed > 0 ? std::max(0.0, saving) / removed : 0;
    Tensor tensor{module.name, {}};
    const std::vector<ModuleFormat> formats = candidate_formats();
    for (size_t i = 0; i < formats.size(); ++i) {
      const QuantizationScheme scheme = scheme_as(plan_.find(module.name)->scheme, formats[i]);
      tensor.candidates.push_back(
          {stored_bytes(scheme, module.rows, module.cols, scale_dtype(scheme)), rate * errors[i]});
    }
    return tensor;
  }

  const WeightSource &original_, &source_;
  const QuantizationPlan& plan_;
  const CalibrationText& text_;
  CalibratedOptions options_;
  WorkFolder& work_;
  const Team& team_;
  Windows windows_;
  std::vector<const Module*> modules_;
  std::optional<ReplacedWeights> base_;
  std::optional<TokenStream> baseline_, model_;
  std::vector<TokenStream> before_;  // the base model's stream before each layer
  std::vector<DecoderLayer> layers_;
  std::optional<OutputHead> baseline_head_, model_head_;
};

}  // namespace

std::vector<ModuleFormat> candidate_formats() {
  return {{WeightFormat::int4, 128}, {WeightFormat::int4, 64}, {WeightFormat::int4, 32},
          {WeightFormat::int5, 128}, {WeightFormat::int5, 32}, {WeightFormat::int6, 128},
          {WeightFormat::int6, 32},  {WeightFormat::int8, 0}};
}

Sensitivity measure_sensitivity(const WeightSource& original, const WeightSource& source,
                                const QuantizationPlan& plan, const CalibrationText& text,
                                const CalibratedOptions& options, WorkFolder& work, const Team& team,
                                const StageProgress& progress) {
  return Measurement(original, source, plan, text, options, work, team).run(progress);
}

}  // namespace whittle
