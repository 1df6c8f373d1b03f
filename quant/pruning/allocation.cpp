#include "quant/pruning/allocation.h"

#include <algorithm>
#include <cmath>
#include <ranges>

#include "engine/files/interrupts.h"
#include "quant/float_matrix.h"
#include "quant/replaced_weights.h"
#include "quant/solver.h"
#include "quant/structure/measured_model.h"

namespace whittle {
namespace {

constexpr double outlier = 5, owl_reach = 0.08;  // as its authors have them
constexpr double kl_reach = 0.25, kl_step = 0.025;
constexpr double most_kl = 1e3;  // of one linear: more than any model's
constexpr size_t measured_windows = 8;

class Shares {
 public:
  Shares(const AllocationTask& task, const Team& team) : task_(task), team_(team) {
    for (const Module& module : task.source.inventory().modules()) {
      const PlannedModule* plan = task.plan.find(module.name);
      if (plan && module.layer >= 0 && plan->sparsity == Sparsity{.zeros = task.zeros})
        modules_.push_back(&module);
    }
  }

  std::map<std::string, double> owl(const StageProgress& progress) {
    if (modules_.empty()) return {};
    const Squares squares = squares_of_inputs(progress);
    std::map<int64_t, double> ratios;  // of each layer: the part of its weights that are outliers
    std::map<int64_t, int64_t> weights;
    for (const auto& [layer, modules] : by_layer()) {
      std::vector<float> scores;
      for (const Module* module : modules) {
        const std::vector<float> own = scores_of(*module, squares);
        scores.insert(scores.end(), own.begin(), own.end());
      }
      double mean = 0;
      for (const float score : scores) mean += std::sqrt(static_cast<double>(score));
      mean /= static_cast<double>(scores.size());
      const auto least = static_cast<float>(outlier * mean * outlier * mean);
      weights[layer] = std::ssize(scores);
      ratios[layer] =
          static_cast<double>(std::ranges::count_if(scores, [&](float score) { return score > least; })) /
          static_cast<double>(scores.size());
    }
    return by_ratios(ratios, weights);
  }

  std::map<std::string, double> kl(const StageProgress& progress) {
    if (modules_.empty()) return {};
    const Squares squares = squares_of_inputs([](int64_t, int64_t, const std::string&) {});
    Windows windows;
    windows.first_scored = 1;
    for (const std::vector<int32_t>& window : task_.text.windows)
      if (windows.ids.size() < measured_windows) windows.ids.push_back(window);
    MeasuredModel model(task_.source, windows, task_.memory, task_.spill, team_,
                        [](int64_t, int64_t, const std::string&) {});
    std::vector<Tensor> tensors;
    int64_t most = 0;
    for (const Module* module : modules_) {
      progress(std::ssize(tensors), std::ssize(modules_), module->name);
      tensors.push_back(tensor(*module, squares, model));
      most += kept(*module, task_.zeros);
    }
    const Allocation best = allocate(tensors, most);
    std::map<std::string, double> zeros;
    for (size_t i = 0; i < modules_.size(); ++i) zeros[modules_[i]->name] = candidates()[best.choice[i]];
    return zeros;
  }

 private:
  // Mean of x² of the inputs of each role, in each layer.
  using Squares = std::map<std::pair<int64_t, Role>, std::vector<double>>;

  std::map<int64_t, std::vector<const Module*>> by_layer() const {
    std::map<int64_t, std::vector<const Module*>> layers;
    for (const Module* module : modules_) layers[module->layer].push_back(module);
    return layers;
  }

  Squares squares_of_inputs(const StageProgress& progress) const {
    const ModelSpec& spec = task_.source.spec();
    TokenStream stream(spec, task_.text.windows, team_,
                       spill_folder(spec, task_.text.tokens(), task_.memory, task_.spill));
    stream.embed(task_.source);
    Squares squares;
    for (const Module* module : modules_)
      squares[{module->layer, observed_role(task_.source.inventory(), *module)}].resize(
          static_cast<size_t>(module->cols));
    for (int64_t layer = 0; layer < spec.num_hidden_layers; ++layer) {
      progress(layer, spec.num_hidden_layers, fmt::format("layer {}", layer));
      stream.pass(
          load_layer(task_.source, layer, team_), layer, KvFormat::f16, true, [&](Role role, FloatRows rows) {
            const auto found = squares.find({layer, role});
            if (found == squares.end()) return;
            for (int64_t m = 0; m < rows.rows; ++m)
              for (size_t k = 0; k < found->second.size(); ++k) {
                const auto x = static_cast<double>(rows.values[m * rows.stride + static_cast<int64_t>(k)]);
                found->second[k] += x * x;
              }
          });
    }
    for (auto& [of, sums] : squares)
      for (double& sum : sums) sum /= static_cast<double>(stream.tokens());
    return squares;
  }

  const std::vector<double>& squares_of(const Module& module, const Squares& squares) const {
    return squares.at({module.layer, observed_role(task_.source.inventory(), module)});
  }

  // w² · mean(x²) of each weight.
  std::vector<float> scores_of(const Module& module, const Squares& squares) const {
    std::vector<float> scores = float_values(task_.source, module, team_);
    const std::vector<double>& of_inputs = squares_of(module, squares);
    team_.for_each(module.rows, [&](int64_t row) {
      for (int64_t k = 0; k < module.cols; ++k) {
        float& score = scores[static_cast<size_t>(row * module.cols + k)];
        score *= score * static_cast<float>(of_inputs[static_cast<size_t>(k)]);
      }
    });
    return scores;
  }

  // Around the mean of all weights; the layer whose ratio is furthest from the mean goes as far as is
  // allowed.
  std::map<std::string, double> by_ratios(const std::map<int64_t, double>& ratios,
                                          const std::map<int64_t, int64_t>& weights) const {
    const double room = std::min({owl_reach, task_.zeros, 1 - task_.zeros});
    double mean = 0, all = 0, furthest = 0;
    for (const auto& [layer, ratio] : ratios) {
      const auto count = static_cast<double>(weights.at(layer));
      mean += count * ratio;
      all += count;
    }
    mean /= all;
    for (const auto& [layer, ratio] : ratios) furthest = std::max(furthest, std::abs(ratio - mean));
    std::map<std::string, double> zeros;
    for (const Module* module : modules_) {
      const double more = furthest > 0 ? (ratios.at(module->layer) - mean) / furthest : 0;
      zeros[module->name] = std::clamp(task_.zeros - room * more, 0.0, 1.0);
    }
    return zeros;
  }

  // Parts that a linear may lose, the largest first: the smallest price first.
  std::vector<double> candidates() const {
    std::vector<double> parts;
    const auto steps = static_cast<int64_t>(kl_reach / kl_step);
    for (int64_t i = steps; i >= -steps; --i) {
      const double part = task_.zeros + static_cast<double>(i) * kl_step;
      if (part > 0 && part <= 1) parts.push_back(part);
    }
    return parts;
  }

  static int64_t kept(const Module& module, double zeros) {
    return std::llround((1 - zeros) * static_cast<double>(module.rows * module.cols));
  }

  Tensor tensor(const Module& module, const Squares& squares, MeasuredModel& model) {
    std::vector<float> scores = scores_of(module, squares);
    const double cost = pruned_kl(module, scores, model);
    std::ranges::sort(scores);
    // Σ of the scores that go.
    std::vector<double> lost(scores.size() + 1);
    for (size_t i = 0; i < scores.size(); ++i) lost[i + 1] = lost[i] + static_cast<double>(scores[i]);
    const auto lost_at = [&](double zeros) {
      return lost[scores.size() - static_cast<size_t>(kept(module, zeros))];
    };
    const double unit = lost_at(task_.zeros);
    Tensor tensor{module.name, {}};
    // Where what goes at first costs nothing, nobody knows what more would cost: weights that do are kept.
    for (const double part : candidates())
      tensor.candidates.push_back({kept(module, part), unit > 0            ? cost * lost_at(part) / unit
                                                       : lost_at(part) > 0 ? most_kl
                                                                           : 0});
    return tensor;
  }

  // Of the model with this linear pruned.
  double pruned_kl(const Module& module, const std::vector<float>& scores, MeasuredModel& model) {
    check_interrupted();
    std::vector<float> values = float_values(task_.source, module, team_);
    const Mask mask = keep_highest(scores, module.cols, {.zeros = task_.zeros}, &team_);
    for (size_t i = 0; i < values.size(); ++i)
      if (!mask[i]) values[i] = 0;
    ReplacedWeights changed(task_.source);
    changed.replace(module.name, {borrowed_floats(values, module.rows, module.cols), 0});
    const std::array halves = halves_of(load_layer(changed, module.layer, team_));
    MeasuredModel::Changes changes;
    for (size_t i = 0; i < halves.size(); ++i)
      if (const auto half = 2 * module.layer + static_cast<int64_t>(i); model.has(half))
        changes[half] = &halves[i];
    return std::max(0.0, model.kl(changes));
  }

  const AllocationTask& task_;
  const Team& team_;
  std::vector<const Module*> modules_;
};

}  // namespace

std::map<std::string, double> allocate_sparsity(SparsityAllocation allocation, const AllocationTask& task,
                                                const Team& team, const StageProgress& progress) {
  Shares shares(task, team);
  return allocation == SparsityAllocation::owl ? shares.owl(progress) : shares.kl(progress);
}

}  // namespace whittle
