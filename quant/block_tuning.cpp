#include "quant/block_tuning.h"

#include <algorithm>
#include <cmath>

#include "engine/files/interrupts.h"
#include "quant/tuned_parameters.h"

namespace whittle {
namespace {

class BlockTuner {
 public:
  BlockTuner(const TuningTask& task, int64_t layer, const TokenStream& inputs, const TokenStream& outputs,
             const BlockTuningOptions& options, const Team& team)
      : task_(task),
        layer_(layer),
        input_stream_(inputs),
        output_stream_(outputs),
        options_(options),
        rates_({.scale_rate = 0,
                .norm_rate = 0,
                .rounding_rate = options.rounding_rate,
                .weight_rate = options.weight_rate}),
        team_(team),
        parameters_(task, rates_, team, state_),
        block_(task.original.spec(), team),
        trained_(std::ssize(task.training) - std::max<int64_t>(1, std::ssize(task.training) / 8)) {}

  TunedBlock run() {
    TunedBlock out;
    std::map<std::string, WeightMatrix> best;
    for (const auto& [name, matrix] : task_.matrices) best[name] = matrix.quantized.matrix;
    if (trained_ > 0) {
      out.error_before = out.error_after = error(best);
      for (int64_t step = 1; step <= options_.steps; ++step) {
        check_interrupted();
        take(step);
        if (step * options_.evaluations / options_.steps ==
            (step - 1) * options_.evaluations / options_.steps)
          continue;
        const double now = error(parameters_.matrices());
        if (!(now < out.error_after)) continue;
        out.error_after = now;
        best = parameters_.matrices();
      }
    }
    for (const auto& [name, matrix] : task_.matrices) {
      QuantizedMatrix& tuned = out.matrices[name] = matrix.quantized;
      if (out.error_after == out.error_before) continue;
      tuned.matrix = best.at(name);
      const WeightMatrix floats = task_.original.matrix(*task_.original.inventory().find(name));
      measure(floats, tuned, team_);
      task_.original.release(floats);
    }
    return out;
  }

 private:
  // What goes in and what should come out, of these windows.
  void read(const std::vector<size_t>& windows) {
    sequences_.clear();
    for (const size_t window : windows) {
      const int64_t begin = sequences_.empty() ? 0 : sequences_.back().end;
      sequences_.push_back({begin, begin + std::ssize(task_.training[window])});
    }
    const int64_t rows = sequences_.back().end, width = task_.original.spec().hidden_size;
    const auto read = [&](const TokenStream& stream, Matrix& to) {
      to.reshape(rows, width);
      for (size_t i = 0; i < sequences_.size(); ++i)
        for (int64_t m = sequences_[i].begin; m < sequences_[i].end; ++m)
          stream.read(windows[i], m - sequences_[i].begin, 1, to.row(m));
    };
    read(input_stream_, inputs_);
    read(output_stream_, wanted_);
  }

  // What comes out of these weights becomes `now_`.
  void run_block(const WeightSource& weights) {
    load_values(weights, layer_, team_, values_);
    now_.reshape(inputs_.rows(), inputs_.cols());
    team_.for_each(inputs_.rows(),
                   [&](int64_t m) { std::copy_n(inputs_.row(m), inputs_.cols(), now_.row(m)); });
    block_.forward(values_, layer_, sequences_, now_);
  }

  // On the windows that are not trained on.
  double error(const std::map<std::string, WeightMatrix>& matrices) {
    ReplacedWeights weights(task_.written);
    for (const auto& [name, matrix] : matrices)
      weights.replace(name, {matrix, task_.matrices.at(name).activation_group_size});
    double square = 0, power = 0;
    for (auto window = static_cast<size_t>(trained_); window < task_.training.size(); ++window) {
      check_interrupted();
      read({window});
      run_block(weights);
      for (int64_t m = 0; m < inputs_.rows(); ++m)
        for (int64_t i = 0; i < inputs_.cols(); ++i) {
          const auto wanted = static_cast<double>(wanted_.row(m)[i]);
          const double off = static_cast<double>(now_.row(m)[i]) - wanted,
                       added = wanted - static_cast<double>(inputs_.row(m)[i]);
          square += off * off;
          power += added * added;
        }
    }
    return power > 0 ? std::sqrt(square / power) : 0;
  }

  // The windows come in turn: each is a sample of its own.
  void take(int64_t step) {
    const int64_t at_once = std::min(options_.windows_at_once, trained_);
    std::vector<size_t> windows;
    for (int64_t i = 0; i < at_once; ++i)
      windows.push_back(static_cast<size_t>(((step - 1) * at_once + i) % trained_));
    read(windows);
    run_block(parameters_.weights());
    check_interrupted();
    // The derivative of the mean over tokens of |now − wanted|².
    const float factor = 2 / static_cast<float>(inputs_.rows());
    team_.for_each(inputs_.rows(), [&](int64_t m) {
      for (int64_t i = 0; i < inputs_.cols(); ++i)
        now_.row(m)[i] = factor * (now_.row(m)[i] - wanted_.row(m)[i]);
    });
    const Inventory& inventory = task_.original.inventory();
    const auto tuned = [&](const Module& module) { return parameters_.tuned(module); };
    block_.backward(
        values_, layer_, sequences_, inputs_, [&](Role role) { return tuned(*inventory.find(layer_, role)); },
        now_, gradient_);
    const float rate = 1 - static_cast<float>(step - 1) / static_cast<float>(options_.steps);
    hand_on(task_.original, layer_, gradient_, tuned,
            [&](const ModuleGradient& gradient) { parameters_.move(gradient, step, rate); });
  }

  const TuningTask& task_;
  const int64_t layer_;
  const TokenStream &input_stream_, &output_stream_;
  const BlockTuningOptions& options_;
  const TuningOptions rates_;
  const Team& team_;
  TuningState state_;
  TunedParameters parameters_;
  Block block_;
  const int64_t trained_;  // windows, the first of all
  BlockValues values_, gradient_;
  std::vector<Range> sequences_;
  Matrix inputs_, wanted_, now_;  // [tokens, hidden_size]
};

}  // namespace

TunedBlock tune_block(const TuningTask& task, int64_t layer, const TokenStream& inputs,
                      const TokenStream& outputs, const BlockTuningOptions& options, const Team& team) {
  return BlockTuner(task, layer, inputs, outputs, options, team).run();
}

}  // namespace whittle
