#include <fmt/format.h>

#include <cmath>
#include <set>

#include "bench/reports/figures.h"
#include "bench/reports/pages/pictures.h"
#include "bench/reports/report_values.h"

namespace whittle {
namespace {

// A model and a text each: what stands at the root of a report, or in its array.
struct DriftItem {
  std::string name;
  const nlohmann::json* json;
};

std::vector<DriftItem> drift_items(const ReportGroup& group) {
  std::vector<DriftItem> found;
  for (size_t r = 0; r < group.reports.size(); ++r)
    for (const char* kind : {"report", "all texts"})
      for (const ReportItem& item : group.all(kind).items)
        if (item.in[r]) {
          const std::string model = text_at(*item.in[r], "/model"), text = text_at(*item.in[r], "/text");
          std::string name = model + (text.empty() ? "" : ", " + text);
          if (std::string_view(kind) == "all texts") name += ", all texts";
          found.push_back({with_letter(group, r, name), item.in[r]});
        }
  return found;
}

void add_interval_rows(const std::vector<DriftItem>& items, Plot plot, const char* mean, const char* interval,
                       Pictures& pictures) {
  RowPlot rows(std::move(plot), {"mean, 95 % interval"});
  for (const DriftItem& item : items) {
    const Interval found = interval_at(*item.json, interval, number_at(*item.json, mean));
    rows.add_row(item.name, {{.x = found.mean, .low = found.low, .high = found.high}});
  }
  rows.add_to(pictures);
}

void add_windows(const std::vector<DriftItem>& items, Pictures& pictures) {
  Plot plot{.title = "Drift by window",
            .description =
                "Negative log likelihood of each window of the text above the baseline's: the higher, "
                "the worse.",
            .x = {.title = "window", .whole = true},
            .y = {.title = "nats a token above the baseline", .from_zero = true},
            .lines = {{0, false, ""}}};
  for (const DriftItem& item : items) {
    if (item.name.ends_with(", all texts")) continue;  // the same windows again
    const std::vector<double> model = numbers_at(*item.json, "/window_nll/model"),
                              baseline = numbers_at(*item.json, "/window_nll/baseline");
    if (model.empty() || model.size() != baseline.size()) continue;
    const size_t s = plot.series.size();
    PlotSeries series{item.name, model.size() <= 60 ? marker_of(s) : Marker::none, stroke_of(s), {}};
    for (size_t w = 0; w < model.size(); ++w)
      series.points.push_back({.x = static_cast<double>(w + 1), .y = model[w] - baseline[w]});
    plot.series.push_back(std::move(series));
  }
  for (size_t s = 0; plot.series.size() > 1 && s < plot.series.size(); ++s)
    plot.series[s].tag = fmt::format("{}", s + 1);
  if (!plot.series.empty()) pictures.plots.push_back(std::move(plot));
}

// Errors of the residual stream by layer.
void add_layers(const std::vector<DriftItem>& items, const char* key, const char* title,
                const char* description, Pictures& pictures) {
  Plot plot{.title = title,
            .description = description,
            .x = {.title = "layer", .whole = true},
            .y = {.title = "error, %", .from_zero = true}};
  for (const DriftItem& item : items) {
    const std::vector<const nlohmann::json*> layers = items_at(*item.json, "/layers/layers");
    if (layers.empty()) continue;
    const size_t s = plot.series.size();
    PlotSeries series{item.name, layers.size() <= 60 ? marker_of(s) : Marker::none, stroke_of(s), {}};
    for (size_t l = 0; l < layers.size(); ++l)
      series.points.push_back({.x = static_cast<double>(l), .y = number_at(*layers[l], key)});
    plot.series.push_back(std::move(series));
  }
  for (size_t s = 0; plot.series.size() > 1 && s < plot.series.size(); ++s)
    plot.series[s].tag = fmt::format("{}", s + 1);
  if (!plot.series.empty()) pictures.plots.push_back(std::move(plot));
}

// Which linear lost what: a row a layer, a column a role.
void add_linears(const DriftItem& item, Pictures& pictures) {
  const std::vector<const nlohmann::json*> layers = items_at(*item.json, "/layers/layers");
  std::set<std::string> roles;
  for (const nlohmann::json* layer : layers)
    if (const nlohmann::json& linears = value_at(*layer, "/linears"); linears.is_object())
      for (const auto& [role, linear] : linears.items())
        if (roles.size() < 20) roles.insert(role);
  if (roles.empty()) return;
  HtmlTable table{"Errors of linears, % of the output: " + item.name, {{"layer"}}, {}};
  for (const std::string& role : roles) table.columns.push_back({role});
  for (size_t l = 0; l < layers.size(); ++l) {
    std::vector<std::string> row = {fmt::format("{}", l)};
    for (const std::string& role : roles) {
      const nlohmann::json& linears = value_at(*layers[l], "/linears");
      const bool has = linears.is_object() && linears.contains(role);
      row.push_back(has ? format_general(number_at(linears[role], "/output_error_percent")) : "–");
    }
    table.rows.push_back(std::move(row));
  }
  pictures.tables.push_back(std::move(table));
}

}  // namespace

void add_drift_pictures(const ReportGroup& group, Pictures& pictures) {
  const std::vector<DriftItem> items = drift_items(group);
  add_interval_rows(
      items,
      {.title = "KL divergence",
       .description = "How far the model's predictions are from the baseline's. Less is better.",
       .x = {.title = "nats a token", .logarithmic = true},
       .y = {.title = "model and text"}},
      "/kl/mean", "/kl/mean_ci95", pictures);
  add_interval_rows(items,
                    {.title = "Perplexity above the baseline's",
                     .description = "Less is better; where an interval holds 0, chance may do as much.",
                     .x = {.title = "%", .from_zero = true},
                     .y = {.title = "model and text"},
                     .lines = {{0, true, ""}}},
                    "/perplexity/increase_percent", "/perplexity/increase_percent_ci95", pictures);
  add_layers(items, "/stream_error_percent", "Drift by layer, along the way",
             "Error of the residual stream after each layer, each model on its own stream.", pictures);
  add_layers(items, "/alone_error_percent", "Drift by layer, alone",
             "Error of the residual stream after each layer, where it is given the baseline's: what it adds.",
             pictures);
  add_windows(items, pictures);
  size_t shown = 0;
  for (const DriftItem& item : items) {
    const size_t before = pictures.tables.size();
    if (shown < most_pictures) add_linears(item, pictures);
    shown += pictures.tables.size() - before;
  }
}

}  // namespace whittle
