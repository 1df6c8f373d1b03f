#include "quant/rounded.h"

#include <algorithm>

#include "quant/float_matrix.h"

namespace whittle {

std::string RoundedMethod::text() const {
  const auto pruned = [](const PlannedModule& module) { return bool(module.sparsity); };
  std::string text = std::ranges::any_of(plan_.modules, pruned) ? "pruned by magnitude" : "";
  if (std::ranges::any_of(plan_.modules, &PlannedModule::quantized))
    text += std::string(text.empty() ? "" : ", ") + "round to nearest, scales by least squared error";
  return text;
}

QuantizedMatrix RoundedMethod::quantize(const Module& module, const QuantizationScheme& scheme) {
  const PlannedModule* plan = plan_.find(module.name);
  if (!plan || !plan->sparsity) return round_to_nearest(source_, module, scheme, team_);
  const WeightMatrix weights = source_.matrix(module);
  const std::vector<float> values = float_values(weights, team_);
  const std::vector<float> pruned = prune_by_magnitude(
      {.weights = values, .rows = weights.rows, .cols = weights.cols, .sparsity = plan->sparsity}, team_);
  QuantizedMatrix out;
  if (plan->quantized())
    out = with_best_scale_type(scheme, [&](DType type) {
      return round_to_nearest(borrowed_floats(pruned, weights.rows, weights.cols), scheme, type, nullptr,
                              team_);
    });
  else
    out = as_floats(module.name, weights, pruned, scheme.format, team_);
  measure(weights, out, team_);
  source_.release(weights);
  return out;
}

}  // namespace whittle
