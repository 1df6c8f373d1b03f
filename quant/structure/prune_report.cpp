#include "quant/structure/prune_report.h"

#include <algorithm>

#include "bench/reports/figures.h"
#include "bench/reports/json_report.h"
#include "bench/reports/table.h"
#include "quant/quantization_report.h"

namespace whittle {

nlohmann::json prune_json(const PruneReport& report, const Fingerprint& fingerprint) {
  nlohmann::json stages = nlohmann::json::object(), layers = nlohmann::json::array(),
                 fitted = nlohmann::json::array();
  for (const auto& [name, seconds] : report.stages) stages[name] = stages.value(name, 0.0) + seconds;
  for (size_t i = 0; i < report.before.size(); ++i)
    layers.push_back({{"neurons_before", report.before[i].intermediate_size},
                      {"neurons", report.recipe.layers[i].intermediate_size},
                      {"kv_heads_before", report.before[i].num_key_value_heads},
                      {"kv_heads", report.recipe.layers[i].num_key_value_heads}});
  for (const FittedLinear& linear : report.fitted)
    fitted.push_back({{"module", linear.module},
                      {"error_before", or_null(linear.before)},
                      {"error", or_null(linear.after)}});
  nlohmann::json json = report_header("prune", fingerprint);
  json.update({{"recipe", report.recipe.text()},
               {"source_bytes", report.source_bytes},
               {"written_bytes", report.written_bytes},
               {"weights_before", report.weights_before},
               {"weights", report.weights},
               {"kv_bytes_per_token_before", report.cache_before},
               {"kv_bytes_per_token", report.cache},
               {"held_out", report.held_out ? held_out_json(*report.held_out) : nlohmann::json(nullptr)},
               {"layers", layers},
               {"fitted", fitted},
               {"stages", stages},
               {"only_whittle_reads", report.own_fields}});
  return json;
}

std::string prune_text(const PruneReport& report) {
  const auto percent = [](int64_t now, int64_t before) {
    return format_fixed(100 * (1 - static_cast<double>(now) / static_cast<double>(before)), 1);
  };
  std::string text = fmt::format(
      "{} → {} weights in the layers ({} % fewer), {} → {} on disk\n", report.weights_before, report.weights,
      percent(report.weights, report.weights_before), format_bytes(static_cast<double>(report.source_bytes)),
      format_bytes(static_cast<double>(report.written_bytes)));
  if (report.cache != report.cache_before)
    text += fmt::format("keys and values of a token: {} → {} (f16)\n",
                        format_bytes(static_cast<double>(report.cache_before)),
                        format_bytes(static_cast<double>(report.cache)));
  if (report.held_out) text += held_out_text(*report.held_out);
  text += report.own_fields ? "only Whittle reads this model: its layers differ\n"
                            : "any program that reads the original reads this model\n";

  Table table({{"layer"}, {"neurons"}, {"key/value heads"}, {"stream, as it was"}, {"fitted"}});
  int64_t place = 0;
  for (size_t i = 0; i < report.before.size(); ++i) {
    const LayerShape before = report.before[i], now = report.recipe.layers[i];
    const auto size = [](int64_t count, int64_t all) {
      return count == all ? fmt::format("{}", all) : fmt::format("{} of {}", count, all);
    };
    // The last linear of a layer that was fitted says what its stream lacks.
    const FittedLinear* last = nullptr;
    const std::string layer = fmt::format(".{}.", now == LayerShape{} ? -1 : place++);
    for (const FittedLinear& linear : report.fitted)
      if (linear.module.find(layer) != linear.module.npos) last = &linear;
    const auto error = [&](double FittedLinear::*value) {
      return last ? format_fixed(100 * last->*value, 1) + " %" : "–";
    };
    if (now == before && !last) continue;
    table.add_row({fmt::format("{}", i), size(now.intermediate_size, before.intermediate_size),
                   size(now.num_key_value_heads, before.num_key_value_heads), error(&FittedLinear::before),
                   error(&FittedLinear::after)});
  }
  text += '\n' + table.text();
  Table stages({{"stage", Align::left}, {"seconds", Align::right}});
  std::vector<std::pair<std::string, double>> sums;  // a search makes many models
  for (const auto& [name, seconds] : report.stages) {
    const auto found = std::ranges::find(sums, name, &std::pair<std::string, double>::first);
    if (found == sums.end())
      sums.emplace_back(name, seconds);
    else
      found->second += seconds;
  }
  for (const auto& [name, seconds] : sums) stages.add_row({name, format_fixed(seconds, 1)});
  return text + '\n' + stages.text();
}

}  // namespace whittle
