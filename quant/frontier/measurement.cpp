#include "quant/frontier/measurement.h"

#include <algorithm>
#include <array>
#include <functional>

#include "bench/drift/drift.h"
#include "bench/peak_memory.h"
#include "engine/files/interrupts.h"

namespace whittle {
namespace {

// Of each pair of repeats; where they were no pairs, without an interval.
Interval speedup(const std::vector<double>& model, const std::vector<double>& original, bool alternated) {
  if (!alternated) return {median(model) / median(original), unknown_figure, unknown_figure};
  std::vector<double> ratios(model.size());
  std::ranges::transform(model, original, ratios.begin(), std::divides<>());
  return median_interval_95(ratios);
}

}  // namespace

void measure(const std::filesystem::path& original, const std::filesystem::path& model, const Team& team,
             const MeasurementOptions& options, const MeasurementProgress& progress, RecipeResult& result) {
  const auto step = [&](const char* phase) {
    return [&progress, phase](int64_t done, int64_t total) {
      check_interrupted();
      if (progress) progress(phase, done, total);
    };
  };
  // Before this process takes memory itself.
  const auto memory = step("peak memory");
  memory(0, 1);
  result.peak_rss_bytes = measure_peak_memory(options.memory_child(model));
  memory(1, 1);

  const std::array folders = {original, model};
  const auto turns = step("speed");
  const SpeedReports speeds =
      measure_speed(folders, team, options.speed,
                    [&](int64_t done, int64_t total, const std::string&) { turns(done, total); });
  const SpeedReport &before = speeds.models[0], &after = speeds.models[1];
  result.disk_bytes = after.size.disk_bytes;
  result.weights = after.size.weights;
  result.weights_bytes = after.weights_bytes;
  result.bits_per_weight = after.size.bits_per_weight();
  result.bits_per_original_weight =
      8.0 * static_cast<double>(after.size.tensor_bytes) / static_cast<double>(before.size.weights);
  result.int8 = after.int8;
  result.prefill_tokens_per_s = median(after.prefill_tokens_per_s());
  result.prefill_probe_fraction = median(after.prefill_fraction());
  result.prefill_speedup =
      speedup(after.prefill_tokens_per_s(), before.prefill_tokens_per_s(), speeds.alternated);
  result.decode_tokens_per_s = median(after.decode_tokens_per_s());
  result.decode_probe_fraction = median(after.decode_bandwidth_fraction());
  result.decode_speedup =
      speedup(after.decode_tokens_per_s(), before.decode_tokens_per_s(), speeds.alternated);

  const Model baseline(original, team), changed(model, team);
  const DriftReport drift =
      measure_drift(baseline, changed, team, options.text, options.speed.kv_cache, nullptr, step("drift"));
  result.perplexity = drift.model_perplexity();
  result.perplexity_increase_percent = drift.perplexity_increase_percent();
  result.kl = drift.kl;
  result.same_top_percent = 100 * drift.same_top;
}

}  // namespace whittle
