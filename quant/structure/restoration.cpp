#include "quant/structure/restoration.h"

#include <cmath>

#include "bench/windows.h"
#include "quant/structure/elimination.h"
#include "quant/structure/fitting.h"
#include "quant/structure/halves.h"

namespace whittle {
namespace {

class Restoration {
 public:
  Restoration(const FolderWeights& source, const Shapes& shapes,
              const std::vector<std::vector<int32_t>>& windows, const RestorationOptions& options,
              const Team& team)
      : source_(source),
        spec_(source.spec()),
        windows_(windows),
        options_(options),
        team_(team),
        learned_(learned_windows(windows.size())),
        original_(stream()),
        ours_(stream()),
        before_(stream()),
        out_{PrunedWeights(source, shapes, team), {}} {}

  RestoredModel run(const StageProgress& progress) {
    original_.embed(source_);
    for (int64_t i = 0; i < spec_.num_hidden_layers; ++i) {
      progress(i, spec_.num_hidden_layers, fmt::format("layer {}", i));
      const Halves halves = halves_of(load_layer(source_, i, team_));
      if (halves[0].has_attention())
        step(i, halves[0], Role::o, spec_.layer(i).num_key_value_heads,
             out_.weights.shapes()[static_cast<size_t>(i)].num_key_value_heads);
      if (halves[1].has_mlp())
        step(i, halves[1], Role::down, spec_.layer(i).intermediate_size,
             out_.weights.shapes()[static_cast<size_t>(i)].intermediate_size);
    }
    return std::move(out_);
  }

 private:
  TokenStream stream() const {
    return {spec_, windows_, team_,
            spill_folder(spec_, tokens_of(windows_), options_.memory, options_.spill)};
  }

  // Half a layer, of whose parts `count` of `all` stay; it ends in the linear `end`.
  void step(int64_t layer, const DecoderLayer& half, Role end, int64_t all, int64_t count) {
    if (!changed_ && count == all) return original_.pass(half, layer, KvFormat::f32, true);
    if (!changed_) ours_.copy(original_);
    changed_ = true;
    original_.pass(half, layer, KvFormat::f32, true);
    if (count == 0) return;
    const auto at = static_cast<size_t>(2 * layer + (end == Role::down));
    const bool fixed = !options_.fitted || (!options_.fixed.empty() && options_.fixed[at]);
    if (count == all && fixed) return ours_.pass(half, layer, KvFormat::f32, true);
    before_.copy(ours_);
    if (!refit(layer, half, end, all, count)) return;
    ours_.copy(before_);
    const Halves halves = halves_of(load_layer(out_.weights, out_.weights.layer_of(layer), team_));
    ours_.pass(halves[end == Role::down], layer, KvFormat::f32, true);
  }

  // Takes our stream through the half as it was; whether it is another one now.
  bool refit(int64_t layer, const DecoderLayer& half, Role end, int64_t all, int64_t count) {
    const Module& module = *source_.inventory().find(layer, end);
    StreamStatistics statistics(module.rows, module.cols, module.bias);
    double power = 0;
    size_t window = 0;
    ours_.pass(half, layer, KvFormat::f32, true, [&](Role role, FloatRows x) {
      if (role != end) return;
      see(statistics, window, x, power);
      ++window;
    });
    statistics.finish(team_);
    const std::vector<float> weights = float_values(source_, module, team_);
    KeptParts parts = out_.weights.kept(layer);
    if (count < all)
      (end == Role::down ? parts.neurons : parts.kv_heads) =
          eliminate(weights, module.rows, statistics.varying(), module.cols, module.cols / all,
                    groups_at_once(all), team_)
              .kept(count);
    out_.weights.keep(layer, parts);
    const Fit fit = fit_stream(statistics, weights, kept_inputs(spec_, parts, end), options_.fitted, team_);
    if (fit.after < fit.before) {
      const Module& smaller = *out_.weights.inventory().find(out_.weights.layer_of(layer), end);
      out_.weights.replace(smaller, fit.weights, fit.bias);
      out_.fitted.push_back({smaller.name, std::sqrt(fit.before / power), std::sqrt(fit.after / power)});
    }
    return count < all || fit.after < fit.before;
  }

  // A token counts as what follows the stream reads it: normalised.
  void see(StreamStatistics& statistics, size_t window, FloatRows x, double& power) {
    const int64_t width = spec_.hidden_size;
    std::vector<float> wanted(static_cast<size_t>(x.rows * width)), lacks(wanted.size()),
        weight(static_cast<size_t>(x.rows));
    original_.read(window, 0, x.rows, wanted.data());
    ours_.read(window, 0, x.rows, lacks.data());
    for (int64_t t = 0; t < x.rows; ++t) {
      double squares = 0;
      for (int64_t k = t * width; k < (t + 1) * width; ++k) {
        squares += static_cast<double>(wanted[static_cast<size_t>(k)]) *
                   static_cast<double>(wanted[static_cast<size_t>(k)]);
        lacks[static_cast<size_t>(k)] = wanted[static_cast<size_t>(k)] - lacks[static_cast<size_t>(k)];
      }
      weight[static_cast<size_t>(t)] =
          squares > 0 ? static_cast<float>(std::sqrt(static_cast<double>(width) / squares)) : 1.0f;
    }
    const bool judged = window >= learned_;
    if (judged) power += static_cast<double>(x.rows * width);
    statistics.add(team_, x, {x.rows, width, lacks.data()}, weight, judged);
  }

  const FolderWeights& source_;
  const ModelSpec& spec_;
  const std::vector<std::vector<int32_t>>& windows_;
  const RestorationOptions& options_;
  const Team& team_;
  const size_t learned_;  // windows; the others judge
  TokenStream original_, ours_, before_;
  bool changed_ = false;  // whether the two streams differ
  RestoredModel out_;
};

}  // namespace

int64_t groups_at_once(int64_t groups) { return std::max<int64_t>(1, groups / 64); }

RestoredModel restore(const FolderWeights& source, const Shapes& shapes,
                      const std::vector<std::vector<int32_t>>& windows, const RestorationOptions& options,
                      const Team& team, const StageProgress& progress) {
  return Restoration(source, shapes, windows, options, team).run(progress);
}

}  // namespace whittle
