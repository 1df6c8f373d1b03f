#pragma once
// The parameters that tuning moves, and the weights that they stand for.

#include <map>
#include <string>
#include <vector>

#include "kernels/threads.h"
#include "quant/gradient/block.h"
#include "quant/replaced_weights.h"
#include "quant/tuning.h"
#include "quant/tuning_state.h"

namespace whittle {

//   scale of a group: its logarithm, from the given one's on, so that the sign stays
//
//   code of a weight: a place on the grid, from where the original weight lies on it; rounded, it is the code
//
//   weight that is a float: as a multiple of its row's root mean square
//
//   weight of a norm: a factor, from 1 on
//
// What is pruned has no parameter: it stays zero.
class TunedParameters {
 public:
  // Task, options, team and state must outlive this. Parameters are added to the state unless they are there.
  TunedParameters(const TuningTask& task, const TuningOptions& options, const Team& team, TuningState& state);

  // The model as the parameters have it.
  const WeightSource& weights() const { return weights_; }
  // Its matrices; a copy keeps its codes when parameters move on.
  const std::map<std::string, WeightMatrix>& matrices() const { return matrices_; }
  // Whether a module has parameters.
  bool tuned(const Module& module) const;
  // Adam's step number `step` (from 1 on) of a module's parameters, at rates times `rate`.
  void move(const ModuleGradient& gradient, int64_t step, float rate);
  // The matrices and norms as files will hold them, to where the best is kept in `state`.
  void store(TuningState& state) const;

 private:
  using Parameter = TuningState::Parameter;
  void start(const std::string& name, std::vector<float> value);
  Parameter* find(const std::string& name) const;
  const Module& module(const std::string& name) const { return *task_.original.inventory().find(name); }
  std::vector<float> places(const std::string& name) const;
  std::vector<float> start_floats(const std::string& name);
  void apply_matrix(const std::string& name);
  void apply_norm(const std::string& name);

  const TuningTask& task_;
  const TuningOptions& options_;
  const Team& team_;
  TuningState& state_;
  std::map<std::string, WeightMatrix> matrices_;     // as weights_ has them
  std::map<std::string, std::vector<float>> units_;  // of a float matrix's rows
  std::map<std::string, std::vector<float>> norms_;
  ReplacedWeights weights_;
};

}  // namespace whittle
