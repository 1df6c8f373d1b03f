#include "quant/tuning.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <numeric>
#include <random>

#include "engine/files/interrupts.h"
#include "kernels/error.h"
#include "quant/gradient/kl_loss.h"
#include "quant/gradient/model_gradient.h"
#include "quant/tuned_parameters.h"

namespace whittle {
namespace {

WeightMatrix with(const WeightMatrix& given, const TuningState::Matrix& stored) {
  WeightMatrix matrix = given;
  const auto codes = std::make_shared<std::vector<std::byte>>(stored.codes);
  matrix.codes = *codes;
  matrix.owned = codes;
  matrix.scales = stored.scales;
  return matrix;
}

class Tuner {
 public:
  Tuner(const TuningTask& task, const TuningOptions& options, const Team& team, const TuningHooks& hooks,
        const TuningState* resume)
      : task_(task),
        options_(options),
        team_(team),
        hooks_(hooks),
        state_(resume ? *resume : TuningState()),
        parameters_(task, options, team, state_),
        original_(task.original, team),
        tuned_(parameters_.weights(), team) {
    steps_of_pass_ = std::ssize(task.training) / options.windows_at_once;
    if (steps_of_pass_ == 0)
      fail("{} windows to tune on, where a step takes {}", task.training.size(), options.windows_at_once);
    steps_ = steps_of_pass_ * options.passes;
    every_ = std::max<int64_t>(1, steps_ / options.evaluations);
  }

  TuningResult run() {
    if (state_.step == 0) evaluate();
    while (state_.step < steps_) {
      check_interrupted();
      const double kl = step();
      if (hooks_.progress) hooks_.progress(state_.step, steps_, kl);
      if ((steps_ - state_.step) % every_ != 0) continue;
      evaluate();
      if (hooks_.checkpoint) hooks_.checkpoint(state_);
    }
    return result();
  }

 private:
  // The windows of a step.
  std::vector<std::vector<int32_t>> batch() const {
    std::vector<size_t> order(task_.training.size());
    std::iota(order.begin(), order.end(), 0);
    std::mt19937_64 random(options_.seed + static_cast<uint64_t>(state_.step / steps_of_pass_));
    for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random() % i]);
    const auto first = order.begin() + state_.step % steps_of_pass_ * options_.windows_at_once;
    std::vector<std::vector<int32_t>> windows;
    std::transform(first, first + options_.windows_at_once, std::back_inserter(windows),
                   [&](size_t index) { return task_.training[index]; });
    return windows;
  }

  // Returns the mean KL of its tokens.
  double step() {
    const std::vector<std::vector<int32_t>> windows = batch();
    const float rate = 1 - static_cast<float>(state_.step) / static_cast<float>(steps_);
    ++state_.step;
    original_.forward(windows);
    tuned_.forward(windows);
    const auto tokens = static_cast<float>(tuned_.tokens());
    double kl = 0;
    const auto loss = [&](int64_t first, Matrix& logits) {
      original_.logits({first, first + logits.rows()}, target_);
      kl += kl_backward(team_, target_, options_.temperature, 1 / tokens, logits);
    };
    // A module is not read again once its derivatives are there: it may change at once.
    tuned_.backward(
        loss, [&](const Module& module) { return parameters_.tuned(module); },
        [&](const ModuleGradient& gradient) { parameters_.move(gradient, state_.step, rate); });
    return kl / static_cast<double>(tokens);
  }

  // Held out, as it would be stored; what is best so far is kept.
  void evaluate() {
    TuningState stored;
    ReplacedWeights weights(task_.written);
    if (state_.step > 0) parameters_.store(stored);
    for (const auto& [name, matrix] : task_.matrices) {
      const WeightMatrix& given = matrix.quantized.matrix;
      weights.replace(name, {state_.step > 0 ? with(given, stored.best_matrices.at(name)) : given,
                             matrix.activation_group_size});
    }
    for (const auto& [name, norm] : stored.best_norms) weights.replace_norm(name, norm);
    const double kl = held_out_kl(weights);
    if (hooks_.evaluated) hooks_.evaluated(state_.step, kl);
    if (state_.step == 0) state_.kl_before = kl;
    if (state_.step > 0 && kl >= state_.kl_best) return;
    state_.kl_best = kl;
    state_.best_step = state_.step;
    state_.best_matrices = std::move(stored.best_matrices);
    state_.best_norms = std::move(stored.best_norms);
  }

  // Infinite where a step led to logits that are not finite.
  double held_out_kl(const ReplacedWeights& model) const {
    try {
      return task_.judge(model);
    } catch (const Error&) {
      check_interrupted();
      if (state_.step == 0) throw;
      return std::numeric_limits<double>::infinity();
    }
  }

  TuningResult result() const {
    TuningResult result;
    result.kl_before = state_.kl_before;
    result.kl_after = state_.kl_best;
    result.best_step = state_.best_step;
    for (const auto& [name, matrix] : task_.matrices) {
      QuantizedMatrix& tuned = result.matrices[name] = matrix.quantized;
      if (state_.best_step == 0) continue;
      tuned.matrix = with(matrix.quantized.matrix, state_.best_matrices.at(name));
      const WeightMatrix floats = task_.original.matrix(*task_.original.inventory().find(name));
      measure(floats, tuned, team_);
      task_.original.release(floats);
    }
    for (const auto& [name, norm] : state_.best_norms)
      if (norm != task_.original.weight_vector(*task_.original.inventory().find(name)))
        result.norms[name] = norm;
    return result;
  }

  const TuningTask& task_;
  const TuningOptions& options_;
  const Team& team_;
  const TuningHooks& hooks_;
  TuningState state_;
  TunedParameters parameters_;
  ModelGradient original_, tuned_;
  Matrix target_;
  int64_t steps_of_pass_ = 0, steps_ = 0, every_ = 1;
};

}  // namespace

TuningResult tune(const TuningTask& task, const TuningOptions& options, const Team& team,
                  const TuningHooks& hooks, const TuningState* resume) {
  return Tuner(task, options, team, hooks, resume).run();
}

}  // namespace whittle
