#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <set>

#include "bench/drift/layer_drift.h"
#include "bench/reports/figures.h"
#include "bench/reports/table.h"

namespace whittle {
namespace {

nlohmann::json percent_json(const RelativeError& error) { return or_null(100 * error.value()); }

std::string percent_text(const RelativeError& error) {
  const double percent = 100 * error.value();
  return std::isfinite(percent) ? format_number(percent) : format_fixed(percent, 0);
}

nlohmann::json linear_json(const LinearDrift& linear) {
  return {{"input_error_percent", percent_json(linear.input)},
          {"output_error_percent", percent_json(linear.output)}};
}

// What is no number comes before every number.
double rank(const RelativeError& error) {
  const double value = error.value();
  return std::isnan(value) ? std::numeric_limits<double>::infinity() : value;
}

struct Named {
  std::string name;
  const RelativeError* error;
};

// "layer 3 down 12.3 %, …": the largest of them that are not 0.
std::string largest(std::vector<Named> errors, size_t count) {
  std::erase_if(errors, [](const Named& named) { return named.error->value() == 0; });
  std::ranges::stable_sort(errors, std::greater(), [](const Named& named) { return rank(*named.error); });
  std::string text;
  for (size_t i = 0; i < std::min(count, errors.size()); ++i)
    text += fmt::format("{}{} {} %", i ? ", " : "", errors[i].name, percent_text(*errors[i].error));
  return text.empty() ? "none" : text;
}

}  // namespace

nlohmann::json layer_drift_json(const LayerDriftReport& report) {
  nlohmann::json layers = nlohmann::json::array();
  for (const LayerDrift& layer : report.layers) {
    nlohmann::json linears = nlohmann::json::object();
    for (const LinearDrift& linear : layer.linears)
      linears[std::string(info(linear.role).name)] = linear_json(linear);
    layers.push_back({{"stream_error_percent", percent_json(layer.stream)},
                      {"alone_error_percent", percent_json(layer.alone)},
                      {"linears", std::move(linears)}});
  }
  return {{"tokens", report.tokens},
          {"embedding_error_percent", percent_json(report.embedding)},
          {"layers", std::move(layers)},
          {"head", linear_json(report.head)}};
}

std::string layer_drift_text(const LayerDriftReport& report) {
  std::vector<Column> columns = {{"layer"}, {"stream"}, {"alone"}};
  std::set<Role> roles;  // that some layer has
  for (const LayerDrift& layer : report.layers)
    for (const LinearDrift& linear : layer.linears) roles.insert(linear.role);
  for (const Role role : roles) columns.push_back({std::string(info(role).name)});
  Table table(columns);
  std::vector<Named> layers, linears;
  std::vector<std::string> first = {"–", percent_text(report.embedding)};
  first.resize(columns.size());
  table.add_row(first);
  for (size_t i = 0; i < report.layers.size(); ++i) {
    const LayerDrift& layer = report.layers[i];
    std::vector<std::string> row = {fmt::format("{}", i), percent_text(layer.stream),
                                    percent_text(layer.alone)};
    layers.push_back({fmt::format("layer {}", i), &layer.alone});
    for (const Role role : roles) {
      const auto linear = std::ranges::find(layer.linears, role, &LinearDrift::role);
      row.push_back(linear == layer.linears.end() ? "–" : percent_text(linear->output));
      if (linear != layer.linears.end())
        linears.push_back({fmt::format("layer {} {}", i, info(role).name), &linear->output});
    }
    table.add_row(std::move(row));
  }
  linears.push_back({"head", &report.head.output});
  table.add_note("largest, of layers alone: " + largest(std::move(layers), 3));
  table.add_note("largest, of linears: " + largest(std::move(linears), 5));
  table.add_note(fmt::format(
      "relative errors in percent over {} tokens, the first of each window left out. stream: after the "
      "layer, "
      "each model on its own (–: the embedding); alone: the same from the baseline's stream, what the layer "
      "adds; linears: outputs from the baseline's inputs, their rounding included",
      report.tokens));
  return table.text();
}

}  // namespace whittle
