#include "quant/structure/block_search.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "kernels/error.h"

namespace whittle {
namespace {

class Search {
 public:
  Search(MeasuredModel& model, const ModelSpec& spec, const BlockSearchOptions& options,
         const StageProgress& progress)
      : model_(model), spec_(spec), options_(options), progress_(progress) {
    model_.leave_out({});
    for (int64_t half = 0; half < model.halves(); ++half) whole_ += weights({half});
  }

  // All states one step from here, measured. to_drop: weights of the whole search, for who watches.
  std::vector<DroppedHalves> next(int64_t to_drop) {
    std::vector<DroppedHalves> states;
    for (const std::set<int64_t>& step : steps()) {
      if (now_.weights + weights(step) == whole_) continue;
      progress_(std::min(now_.weights, to_drop), to_drop, name(step));
      MeasuredModel::Changes changes;
      for (const int64_t half : step) changes[half] = nullptr;
      DroppedHalves state{now_.halves, 0, now_.weights + weights(step)};
      state.halves.insert(step.begin(), step.end());
      state.kl = kl(state.halves, changes);
      states.push_back(std::move(state));
    }
    return states;
  }

  // The one that brings the least KL for its weights.
  const DroppedHalves* best(const std::vector<DroppedHalves>& states) const {
    const DroppedHalves* best = nullptr;
    double least = std::numeric_limits<double>::infinity();
    for (const DroppedHalves& state : states) {
      const double rate = (state.kl - now_.kl) / static_cast<double>(state.weights - now_.weights);
      if (rate < least) best = &state, least = rate;
    }
    return best;
  }

  void go(const DroppedHalves& state) {
    now_ = state;
    model_.leave_out(state.halves);
  }
  const DroppedHalves& now() const { return now_; }

  // With fewer dropped, as long as `least` weights stay away.
  void come_back(int64_t least) {
    for (std::optional<DroppedHalves> best;; go(*best)) {
      best.reset();
      for (const int64_t half : now_.halves) {
        if (options_.whole_layers || now_.weights - weights({half}) < least) continue;
        DroppedHalves state{now_.halves, 0, now_.weights - weights({half})};
        state.halves.erase(half);
        state.kl = kl(state.halves, {{half, &model_.half(half)}});
        if (state.kl < (best ? best->kl : now_.kl)) best = std::move(state);
      }
      if (!best) return;
    }
  }

 private:
  // Of the model without these halves, which by `changes` it becomes.
  double kl(const std::set<int64_t>& left_out, const MeasuredModel::Changes& changes) {
    return options_.known.value(fmt::format("without {}", fmt::join(left_out, ",")),
                                [&] { return model_.kl(changes); });
  }

  std::vector<std::set<int64_t>> steps() const {
    std::vector<std::set<int64_t>> steps;
    for (int64_t layer = 0; layer < spec_.num_hidden_layers; ++layer) {
      std::set<int64_t> both;
      bool fixed = false;
      for (const int64_t half : {2 * layer, 2 * layer + 1}) {
        fixed |= options_.fixed && options_.fixed(half) && model_.has(half);
        if (!model_.has(half) || now_.halves.contains(half)) continue;
        if (!options_.whole_layers && !(options_.fixed && options_.fixed(half))) steps.push_back({half});
        both.insert(half);
      }
      if (!fixed && (both.size() == 2 || (options_.whole_layers && !both.empty()))) steps.push_back(both);
    }
    return steps;
  }

  int64_t weights(const std::set<int64_t>& halves) const {
    int64_t sum = 0;
    for (const int64_t half : halves) {
      const LayerShape shape = spec_.layer(half / 2);
      sum += half % 2 ? mlp_weights(spec_, shape.intermediate_size)
                      : attention_weights(spec_, shape.num_key_value_heads);
    }
    return sum;
  }

  static std::string name(const std::set<int64_t>& step) {
    const int64_t half = *step.begin();
    return fmt::format("layer {}{}", half / 2, step.size() == 2 ? "" : half % 2 ? ": MLP" : ": attention");
  }

  MeasuredModel& model_;
  const ModelSpec& spec_;
  const BlockSearchOptions& options_;
  const StageProgress& progress_;
  int64_t whole_ = 0;
  DroppedHalves now_;
};

}  // namespace

std::vector<DroppedHalves> drop_greedily(MeasuredModel& model, const ModelSpec& spec,
                                         const BlockSearchOptions& options,
                                         const std::function<bool(const DroppedHalves&)>& more,
                                         const StageProgress& progress) {
  Search search(model, spec, options, progress);
  std::vector<DroppedHalves> path;
  while (true) {
    const std::vector<DroppedHalves> states = search.next(layer_weights(spec, shapes_of(spec)));
    const DroppedHalves* best = search.best(states);
    if (!best) return path;
    search.go(*best);
    path.push_back(search.now());
    if (!more(search.now())) return path;
  }
}

DroppedHalves drop_weights(MeasuredModel& model, const ModelSpec& spec, const BlockSearchOptions& options,
                           int64_t weights, const StageProgress& progress) {
  Search search(model, spec, options, progress);
  std::optional<DroppedHalves> found;
  while (search.now().weights < weights) {
    const std::vector<DroppedHalves> states = search.next(weights);
    for (const DroppedHalves& state : states)
      if (state.weights >= weights && !(found && found->kl <= state.kl)) found = state;
    const DroppedHalves* best = search.best(states);
    if (!best) break;
    search.go(*best);
  }
  if (!found) fail("so many blocks cannot be dropped: something must stay");
  search.go(*found);
  search.come_back(weights);
  return search.now();
}

Shapes without(const Shapes& shapes, const std::set<int64_t>& halves) {
  Shapes left = shapes;
  for (const int64_t half : halves) {
    LayerShape& shape = left[static_cast<size_t>(half / 2)];
    (half % 2 ? shape.intermediate_size : shape.num_key_value_heads) = 0;
  }
  return left;
}

}  // namespace whittle
