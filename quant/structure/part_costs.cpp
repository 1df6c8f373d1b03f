#include "quant/structure/part_costs.h"

#include <algorithm>

#include "bench/windows.h"
#include "quant/structure/elimination.h"
#include "quant/structure/fitting.h"
#include "quant/structure/pruned_weights.h"
#include "quant/structure/restoration.h"

namespace whittle {
namespace {

constexpr double measured_fractions[] = {0.75, 0.5, 0.25, 0};  // of the parts, kept

class Measurement {
 public:
  Measurement(const FolderWeights& source, MeasuredModel& model,
              const std::vector<std::vector<int32_t>>& windows, const PartCostsOptions& options,
              const Team& team)
      : source_(source), model_(model), windows_(windows), options_(options), team_(team) {}

  std::vector<PartCosts> run(const StageProgress& progress) {
    const ModelSpec& spec = source_.spec();
    TokenStream stream(spec, windows_, team_,
                       spill_folder(spec, tokens_of(windows_), options_.memory, options_.spill));
    stream.embed(source_);
    model_.leave_out({});
    std::vector<PartCosts> all;
    for (int64_t half = 0; half < model_.halves(); ++half) {
      if (!model_.has(half)) continue;
      progress(half, model_.halves(), fmt::format("layer {}: {}", half / 2, half % 2 ? "MLP" : "attention"));
      if (options_.wanted(half))
        all.push_back(costs_of(stream, half));
      else
        stream.pass(model_.half(half), half / 2, KvFormat::f32, true);
    }
    return all;
  }

 private:
  // Takes the stream through the half.
  PartCosts costs_of(TokenStream& stream, int64_t half) {
    const ModelSpec& spec = source_.spec();
    const LayerShape shape = spec.layer(half / 2);
    PartCosts costs{.half = half,
                    .parts = half % 2 ? shape.intermediate_size : shape.num_key_value_heads,
                    .weights_a_part = half % 2 ? mlp_weights(spec, 1) : attention_weights(spec, 1),
                    .kl = {}};
    bool passed = false;
    costs.kl = options_.known.values(fmt::format("parts of half {}", half),
                                     static_cast<size_t>(costs.parts) + 1, [&] {
                                       passed = true;
                                       return kl_by_parts(stream, half, costs.parts);
                                     });
    if (!passed) stream.pass(model_.half(half), half / 2, KvFormat::f32, true);
    return costs;
  }

  std::vector<double> kl_by_parts(TokenStream& stream, int64_t half, int64_t parts) {
    const ModelSpec& spec = source_.spec();
    const Role end = half_ends[static_cast<size_t>(half % 2)];
    const Module& module = *source_.inventory().find(half / 2, end);
    StreamStatistics statistics(module.rows, module.cols, module.bias);
    const size_t learned = learned_windows(windows_.size());
    size_t window = 0;
    stream.pass(model_.half(half), half / 2, KvFormat::f32, true, [&](Role role, FloatRows x) {
      if (role != end) return;
      const std::vector<float> nothing(static_cast<size_t>(x.rows * module.rows)),
          ones(static_cast<size_t>(x.rows), 1.0f);
      statistics.add(team_, x, {x.rows, module.rows, nothing.data()}, ones, window >= learned);
      ++window;
    });
    statistics.finish(team_);
    const std::vector<float> weights = float_values(source_, module, team_);
    const Elimination gone = eliminate(weights, module.rows, statistics.varying(), module.cols,
                                       module.cols / parts, groups_at_once(parts), team_);
    std::map<int64_t, double> measured = {{parts, 0}};
    for (const double fraction : measured_fractions) {
      const auto kept = static_cast<int64_t>(fraction * static_cast<double>(parts));
      // ALiBi's heads go together.
      if (kept && half % 2 == 0 && spec.positions == Positions::alibi) continue;
      if (!measured.contains(kept)) measured[kept] = kl(half, statistics, weights, gone, kept);
    }
    std::vector<double> all;
    for (int64_t kept = 0; kept <= parts; ++kept) {
      const auto above = measured.lower_bound(kept);
      if (above->first == kept) {
        all.push_back(above->second);
        continue;
      }
      const auto below = std::prev(above);
      const auto error = [&](int64_t count) { return gone.errors[static_cast<size_t>(parts - count)]; };
      const double span = error(below->first) - error(above->first),
                   share = span > 0 ? (error(kept) - error(above->first)) / span : 0;
      all.push_back(above->second + share * (below->second - above->second));
    }
    return all;
  }

  double kl(int64_t half, const StreamStatistics& statistics, const std::vector<float>& weights,
            const Elimination& gone, int64_t kept) {
    if (kept == 0) return model_.kl({{half, nullptr}});
    const auto layer = half / 2;
    Shapes shapes = shapes_of(source_.spec());
    LayerShape& shape = shapes[static_cast<size_t>(layer)];
    (half % 2 ? shape.intermediate_size : shape.num_key_value_heads) = kept;
    PrunedWeights pruned(source_, shapes, team_);
    KeptParts parts = pruned.kept(layer);
    (half % 2 ? parts.neurons : parts.kv_heads) = gone.kept(kept);
    pruned.keep(layer, parts);
    const Module& end = *pruned.inventory().find(layer, half_ends[static_cast<size_t>(half % 2)]);
    const Fit fit =
        fit_stream(statistics, weights, kept_inputs(source_.spec(), parts, end.role), true, team_);
    pruned.replace(end, fit.weights, fit.bias);
    const Halves halves = halves_of(load_layer(pruned, layer, team_));
    return model_.kl({{half, &halves[static_cast<size_t>(half % 2)]}});
  }

  const FolderWeights& source_;
  MeasuredModel& model_;
  const std::vector<std::vector<int32_t>>& windows_;
  const PartCostsOptions& options_;
  const Team& team_;
};

}  // namespace

int64_t part_step(int64_t parts) {
  constexpr int64_t steps[] = {128, 64, 32, 16, 8}, fewest = 12;
  for (const int64_t step : steps)
    if (parts / step >= fewest) return step;
  return 1;
}

std::vector<PartCosts> measure_part_costs(const FolderWeights& source, MeasuredModel& model,
                                          const std::vector<std::vector<int32_t>>& windows,
                                          const PartCostsOptions& options, const Team& team,
                                          const StageProgress& progress) {
  return Measurement(source, model, windows, options, team).run(progress);
}

}  // namespace whittle
