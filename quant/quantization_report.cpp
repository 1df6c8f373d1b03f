#include "quant/quantization_report.h"

#include <algorithm>

#include "bench/reports/figures.h"
#include "bench/reports/json_report.h"
#include "bench/reports/table.h"

namespace whittle {
namespace {

// Linears that the table names; JSON has them all.
constexpr size_t shown_linears = 5;

}  // namespace

nlohmann::json held_out_json(const DriftReport& drift) {
  return {{"tokens", drift.tokens_scored},
          {"windows", drift.windows},
          {"kl", or_null(drift.kl.mean)},
          {"kl_ci95", bounds_json(drift.kl)},
          {"perplexity_baseline", or_null(drift.baseline_perplexity())},
          {"perplexity", or_null(drift.model_perplexity())}};
}

std::string held_out_text(const DriftReport& drift) {
  return fmt::format("held-out text ({} tokens): mean KL {}, perplexity {} → {} ({} %)\n",
                     drift.tokens_scored, format_fixed(drift.kl.mean, 5),
                     format_fixed(drift.baseline_perplexity(), 4), format_fixed(drift.model_perplexity(), 4),
                     format_signed(drift.perplexity_increase_percent().mean, 2));
}

namespace {

std::string worst_text(const char* title, std::span<const QuantizedWeights::ModuleError> errors) {
  Table table(
      {{title, Align::left}, {"error of their outputs", Align::right}, {"by int8 inputs", Align::right}});
  const auto percent = [](double relative) { return format_fixed(100 * relative, 2) + " %"; };
  for (const auto& [module, relative, by_inputs] : errors.first(std::min(shown_linears, errors.size())))
    table.add_row({module, percent(relative), percent(by_inputs)});
  return table.text();
}

}  // namespace

nlohmann::json quantization_json(const QuantizationReport& report, const Fingerprint& fingerprint) {
  nlohmann::json stages = nlohmann::json::object(), errors = nlohmann::json::array();
  for (const auto& [name, seconds] : report.stages) stages[name] = stages.value(name, 0.0) + seconds;
  for (const auto& [module, relative, by_inputs] : report.weights.output_errors)
    errors.push_back({{"module", module},
                      {"relative_error", or_null(relative)},
                      {"relative_error_of_int8_inputs", or_null(by_inputs)}});
  nlohmann::json json = report_header("quantize", fingerprint);
  json.update({{"recipe", report.recipe.text()},
               {"modules", report.weights.modules},
               {"bits_per_weight", report.weights.bits_per_weight},
               {"relative_error", report.weights.relative_error},
               {"zeros", report.weights.zeros},
               {"source_bytes", report.source_bytes},
               {"written_bytes", report.written_bytes},
               {"held_out", report.held_out ? held_out_json(*report.held_out) : nlohmann::json(nullptr)},
               {"predicted_kl", or_null(report.predicted_kl)},
               {"predicted_ms", or_null(report.predicted_ms)},
               {"stages", stages},
               {"output_errors", errors}});
  return json;
}

nlohmann::json frontier_json(std::span<const FrontierPoint> points, const Fingerprint& fingerprint) {
  nlohmann::json json = report_header("quantize-budgets", fingerprint);
  json["frontier"] = nlohmann::json::array();
  for (const FrontierPoint& point : points)
    json["frontier"].push_back(
        {{"target_bits", point.target_bits},
         {"bits_per_weight", point.bits},
         {"predicted_kl", or_null(point.predicted_kl)},
         {"tuning_tokens", point.tuning_tokens},
         {"held_out", point.held_out ? held_out_json(*point.held_out) : nlohmann::json(nullptr)}});
  return json;
}

std::string frontier_text(std::span<const FrontierPoint> points) {
  Table table({{"target bits"}, {"bits"}, {"predicted KL"}, {"held-out KL"}, {"perplexity"}});
  for (const FrontierPoint& point : points)
    table.add_row({fmt::format("{}", point.target_bits), format_fixed(point.bits, 3),
                   format_fixed(point.predicted_kl, 5),
                   point.held_out ? format_fixed(point.held_out->kl.mean, 5) : "–",
                   point.held_out ? format_fixed(point.held_out->model_perplexity(), 4) : "–"});
  std::string text = table.text();
  if (!points.empty() && points.front().tuning_tokens)
    text += fmt::format("\nmeasured before tuning, which each recipe asks for: on {} tokens\n",
                        points.front().tuning_tokens);
  return text;
}

std::string quantization_text(const QuantizationReport& report) {
  const QuantizedWeights& weights = report.weights;
  std::string text = fmt::format(
      "{} modules {} at {:.3f} bits per weight; relative error of their weights {:.3e}\n"
      "{} → {} on disk\n",
      weights.modules, report.recipe.weights ? "quantized" : "pruned", weights.bits_per_weight,
      weights.relative_error, format_bytes(static_cast<double>(report.source_bytes)),
      format_bytes(static_cast<double>(report.written_bytes)));
  if (report.recipe.prunes())
    text += fmt::format("{:.2f} % of the weights of pruned modules are zero\n", 100 * weights.zeros);
  if (report.predicted_kl)
    text +=
        fmt::format("predicted mean KL {}, on the calibration text\n", format_fixed(*report.predicted_kl, 5));
  if (report.predicted_ms)
    text += fmt::format("predicted {} ms a token for the products chosen for\n",
                        format_fixed(*report.predicted_ms, 3));
  if (report.held_out) text += held_out_text(*report.held_out);
  if (report.stages.size() > 1) {
    Table table({{"stage", Align::left}, {"seconds", Align::right}});
    for (const auto& [name, seconds] : report.stages) table.add_row({name, format_fixed(seconds, 1)});
    text += '\n' + table.text();
  }
  if (!weights.output_errors.empty()) {
    std::vector<QuantizedWeights::ModuleError> errors = weights.output_errors;
    text += '\n' + worst_text("linears that lose most", errors);
    std::ranges::stable_sort(errors, std::ranges::greater(), &QuantizedWeights::ModuleError::by_inputs);
    // Where the weights lose more, finer activation scales would gain nothing.
    std::erase_if(errors, [](const auto& error) { return error.by_inputs <= error.relative; });
    if (!errors.empty()) text += '\n' + worst_text("linears that lose more by int8 inputs", errors);
  }
  return text;
}

}  // namespace whittle
