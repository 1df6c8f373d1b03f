#include "quant/structure/shape_search.h"

#include <algorithm>

#include "engine/files/json_file.h"
#include "engine/files/name_pattern.h"
#include "kernels/error.h"
#include "kernels/option_error.h"
#include "quant/solver.h"
#include "quant/structure/block_search.h"
#include "quant/structure/part_costs.h"

namespace whittle {
namespace {

// Windows that every change is measured on: differences between two runs of one text settle soon.
constexpr size_t measured_windows = 8;
// Before the whole model is made good, a state is up to so many times as far away as it will be.
constexpr double far = 8;

bool may_lose_heads(const ModelSpec& spec) { return spec.positions != Positions::alibi; }

class Searcher {
 public:
  explicit Searcher(const ShapeSearch& search)
      : search_(search),
        recipe_(search.recipe),
        spec_(search.source.spec()),
        whole_(shapes_of(spec_)),
        fixed_(excluded_halves(search.source, recipe_.exclude)) {
    for (const std::vector<int32_t>& window : search.text.windows)
      if (windows_.ids.size() < measured_windows) windows_.ids.push_back(window);
    windows_.first_scored = 1;
  }

  Shapes run() {
    if (recipe_.mlp_width) return of_width(*recipe_.mlp_width);
    if (recipe_.kv_heads) return fewer_heads(recipe_.kv_heads);
    if (recipe_.blocks) return fewer_blocks(recipe_.blocks);
    if (!recipe_.max_kl) fail("nothing to leave out");
    if (recipe_.parts == PrunedParts::blocks) return blocks_within();
    return recipe_.alike ? alike_within() : parts_within();
  }

 private:
  int64_t& size(Shapes& shapes, int64_t half) const {
    LayerShape& shape = shapes[static_cast<size_t>(half / 2)];
    return half % 2 ? shape.intermediate_size : shape.num_key_value_heads;
  }
  bool fixed(int64_t half) const { return fixed_[static_cast<size_t>(half)]; }

  MeasuredModel measured_model() const {
    return {search_.source, windows_, search_.memory, search_.spill, search_.team, search_.stage("original")};
  }

  // Every layer with `kept` of its neurons, where it has as many.
  Shapes narrowed(int64_t kept) const {
    Shapes shapes = whole_;
    for (int64_t half = 1; half < 2 * std::ssize(shapes); half += 2)
      if (!fixed(half)) size(shapes, half) = std::min(size(shapes, half), kept);
    return shapes;
  }

  // Layers that have attention keep some of it.
  Shapes fewer_heads(int64_t count) const {
    Shapes shapes = whole_;
    for (int64_t half = 0; half < 2 * std::ssize(shapes); half += 2)
      if (int64_t& heads = size(shapes, half); heads && !fixed(half))
        heads = std::max<int64_t>(1, heads - count);
    return shapes;
  }

  // Widths are multiples of a step; what is asked for is reached to the nearest.
  Shapes of_width(double fraction) {
    const int64_t all = spec_.intermediate_size, step = part_step(all);
    const auto wanted = [&](int64_t neurons) {
      return std::max<int64_t>(
                 1, static_cast<int64_t>(fraction * static_cast<double>(neurons) / static_cast<double>(step) +
                                         0.5)) *
             step;
    };
    if (recipe_.alike) return narrowed(std::min(all, wanted(all)));
    const std::vector<Tensor> tensors = costs([&](int64_t half) { return half % 2 == 1; }, false);
    int64_t neurons = 0;
    for (const PartCosts& costs : costs_) neurons += costs.parts;
    return carried_out(allocate(tensors, wanted(neurons) * mlp_weights(spec_, 1)));
  }

  Shapes fewer_blocks(int64_t count) {
    MeasuredModel model = measured_model();
    const int64_t weights = layer_weights(spec_, whole_) * count / spec_.num_hidden_layers;
    return without(whole_,
                   drop_weights(model, spec_, block_options(), weights, search_.stage("blocks")).halves);
  }

  BlockSearchOptions block_options() const {
    return {.whole_layers = recipe_.alike,
            .fixed = [this](int64_t half) { return fixed(half); },
            .known = search_.known};
  }

  // What each half may keep, in steps, and what that costs; nothing only where `droppable`.
  std::vector<Tensor> costs(const std::function<bool(int64_t)>& wanted, bool droppable) {
    MeasuredModel model = measured_model();
    costs_ = measure_part_costs(search_.source, model, search_.text.windows,
                                {.wanted = [&](int64_t half) { return wanted(half) && !fixed(half); },
                                 .memory = search_.memory,
                                 .spill = search_.spill,
                                 .known = search_.known},
                                search_.team, search_.stage("parts"));
    if (costs_.empty()) fail("nothing is left that may be left out");
    std::vector<Tensor> tensors;
    kept_.clear();
    for (const PartCosts& costs : costs_) {
      Tensor& tensor = tensors.emplace_back(Tensor{fmt::format("half {}", costs.half), {}});
      std::vector<int64_t>& kept = kept_.emplace_back();
      const bool whole = costs.half % 2 == 0 && !may_lose_heads(spec_);
      const int64_t step = whole ? costs.parts : part_step(costs.parts);
      for (int64_t count = costs.parts; count >= 0;
           count = count % step ? count - count % step : count - step) {
        if (count == 0 && !droppable) continue;
        kept.push_back(count);
        tensor.candidates.push_back(
            {count * costs.weights_a_part, std::max(0.0, costs.kl[static_cast<size_t>(count)])});
      }
    }
    return tensors;
  }

  Shapes carried_out(const Allocation& allocation) const {
    Shapes shapes = whole_;
    for (size_t i = 0; i < costs_.size(); ++i) size(shapes, costs_[i].half) = kept_[i][allocation.choice[i]];
    return shapes;
  }

  // The furthest of so many states, each smaller than the one before, that a limit allows.
  Shapes furthest(const std::vector<Shapes>& states) const {
    const StageProgress progress = search_.stage("search");
    size_t good = 0, bad = states.size() + 1;  // of states, counted from 1; 0: the original
    for (int64_t tries = 0; bad - good > 1; ++tries) {
      const size_t middle = (good + bad) / 2;
      progress(tries, tries + std::bit_width(bad - good - 1), fmt::format("{} of {}", middle, states.size()));
      (search_.judge(states[middle - 1]) <= *recipe_.max_kl ? good : bad) = middle;
    }
    if (good == 0)
      fail_option("max_kl", "nothing can be left out within a mean KL divergence of {}", *recipe_.max_kl);
    return states[good - 1];
  }

  Shapes blocks_within() {
    MeasuredModel model = measured_model();
    std::vector<Shapes> states;
    for (const DroppedHalves& state : drop_greedily(
             model, spec_, block_options(),
             [&](const DroppedHalves& now) { return now.kl < far * *recipe_.max_kl; },
             search_.stage("blocks")))
      states.push_back(without(whole_, state.halves));
    return furthest(states);
  }

  Shapes alike_within() const {
    std::vector<Shapes> states;
    if (recipe_.parts == PrunedParts::kv_heads) {
      for (int64_t count = 1; count < spec_.num_key_value_heads; ++count)
        states.push_back(fewer_heads(count));
    } else {
      const int64_t all = spec_.intermediate_size, step = part_step(all);
      for (int64_t kept = (all - 1) / step * step; kept > 0; kept -= step) states.push_back(narrowed(kept));
    }
    return furthest(states);
  }

  Shapes parts_within() {
    const auto wanted = [&](int64_t half) {
      return recipe_.parts == PrunedParts::all ||
             (recipe_.parts == PrunedParts::mlp_width) == (half % 2 == 1);
    };
    const std::vector<Tensor> tensors = costs(wanted, recipe_.parts == PrunedParts::all);
    std::vector<Shapes> states;
    for (const Allocation& allocation : frontier(tensors)) {
      if (allocation.loss > far * *recipe_.max_kl) continue;
      Shapes shapes = carried_out(allocation);
      if (shapes != whole_ && std::ranges::count(shapes, LayerShape{}) != std::ssize(shapes))
        states.push_back(std::move(shapes));
    }
    std::ranges::reverse(states);
    return furthest(states);
  }

  const ShapeSearch& search_;
  const PruneRecipe& recipe_;
  const ModelSpec& spec_;
  const Shapes whole_;
  std::vector<bool> fixed_;  // of each half
  Windows windows_;
  std::vector<PartCosts> costs_;
  std::vector<std::vector<int64_t>> kept_;  // by candidate of each of costs_
};

}  // namespace

std::vector<bool> excluded_halves(const FolderWeights& source, const std::vector<std::string>& exclude) {
  std::vector<bool> halves(static_cast<size_t>(2 * source.spec().num_hidden_layers));
  for (const std::string& pattern : exclude) {
    const NamePattern names("re:.*(?:" + pattern + ")", "exclude");
    bool found = false;
    for (const Module& module : source.inventory().modules()) {
      if (module.layer < 0 || module.kind() != ModuleKind::linear || !names.matches(module.name)) continue;
      halves[static_cast<size_t>(2 * module.layer + (module.role >= Role::mlp_norm))] = found = true;
    }
    if (!found)
      fail_option("exclude", "no linear of a layer of {} matches {}", source.file().folder().string(),
                  quote(pattern));
  }
  return halves;
}

void check_recipe(const FolderWeights& source, const PruneRecipe& recipe) {
  const ModelSpec& spec = source.spec();
  if (!recipe.layers.empty()) check_kept(spec, recipe.layers);
  excluded_halves(source, recipe.exclude);
  const bool heads = recipe.kv_heads || (recipe.max_kl && recipe.parts == PrunedParts::kv_heads);
  if (heads && !may_lose_heads(spec))
    fail("{} cannot lose some heads of a layer: ALiBi's slopes are those of all", spec.model_type);
  if (recipe.kv_heads >= spec.num_key_value_heads)
    fail_option("drop_kv_heads", "expected less than the {} of a layer, found {}", spec.num_key_value_heads,
                recipe.kv_heads);
  if (recipe.blocks >= spec.num_hidden_layers)
    fail_option("drop_blocks", "expected less than the {} of the model, found {}", spec.num_hidden_layers,
                recipe.blocks);
}

Shapes search_shapes(const ShapeSearch& search) { return Searcher(search).run(); }

}  // namespace whittle
