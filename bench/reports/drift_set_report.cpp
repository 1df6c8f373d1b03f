#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bench/drift/drift_set.h"
#include "bench/reports/figures.h"
#include "bench/reports/json_report.h"
#include "bench/reports/table.h"

namespace whittle {
namespace {

// Of all texts together.
Windows joined(std::span<const DriftText> texts) {
  Windows windows;
  for (const DriftText& text : texts) {
    windows.context = std::max(windows.context, text.windows.context);
    windows.protocol = text.windows.protocol;
  }
  return windows;
}

// "0.01132 ± 0.00035", half of its 95 % interval.
std::string with_half(const Interval& interval) {
  const double half = (interval.high - interval.low) / 2;
  std::string text = format_fixed(interval.mean, 5);
  if (std::isfinite(half)) text += " ± " + format_fixed(half, 5);
  return text;
}

nlohmann::json named(const ModelDrift& drift, const nlohmann::json& text, nlohmann::json report) {
  report["model"] = drift.name;
  report["text"] = text;
  report["layers"] = nullptr;
  return report;
}

}  // namespace

nlohmann::json drift_set_json(const DriftSet& set, std::span<const ModelDrift> drifts,
                              std::span<const std::vector<Gate>> gates, const Fingerprint& fingerprint) {
  const Windows all = joined(set.texts);
  nlohmann::json json = report_header("drift", fingerprint);
  json["stored_baseline"] = set.stored ? set.stored->baseline() : nlohmann::json(nullptr);
  if (drifts.size() == 1 && set.texts.size() == 1) {
    json.update(
        named(drifts[0], set.texts[0].name, drift_json(drifts[0].texts[0], set.texts[0].windows, gates[0])));
    return json;
  }
  json["reports"] = json["means"] = nlohmann::json::array();
  for (size_t m = 0; m < drifts.size(); ++m) {
    for (size_t t = 0; t < set.texts.size(); ++t)
      json["reports"].push_back(
          named(drifts[m], set.texts[t].name, drift_json(drifts[m].texts[t], set.texts[t].windows, {})));
    json["means"].push_back(named(drifts[m], nullptr, drift_json(drifts[m].all, all, gates[m])));
  }
  return json;
}

std::string drift_set_text(const DriftSet& set, std::span<const ModelDrift> drifts) {
  if (drifts.size() == 1 && set.texts.size() == 1)
    return drift_text(drifts[0].texts[0], set.texts[0].windows);
  const bool models = drifts.size() > 1, texts = set.texts.size() > 1, stored = set.stored != nullptr;
  std::vector<Column> columns;
  if (models) columns.push_back({"model", Align::left});
  if (texts) columns.push_back({"text", Align::left});
  for (const char* header : {"baseline", "perplexity", "increase", "KL ± 95 %"})
    columns.push_back({header, Align::right});
  if (stored) columns.push_back({"stored ≤", Align::right});
  columns.push_back({"same top", Align::right});
  Table table(columns);
  const auto row = [&](const std::string& model, const std::string& text, const DriftReport& report) {
    std::vector<std::string> cells;
    if (models) cells.push_back(model);
    if (texts) cells.push_back(text);
    cells.push_back(format_fixed(report.baseline_perplexity(), 4));
    cells.push_back(format_fixed(report.model_perplexity(), 4));
    cells.push_back(format_signed(report.perplexity_increase_percent().mean, 2) + " %");
    cells.push_back(with_half(report.kl));
    if (stored) cells.push_back(format_fixed(report.storage_error(), 5));
    cells.push_back(format_fixed(100 * report.same_top, 2) + " %");
    table.add_row(std::move(cells));
  };
  for (const ModelDrift& drift : drifts) {
    for (size_t t = 0; t < set.texts.size(); ++t)
      row(t == 0 ? drift.name : "", set.texts[t].name, drift.texts[t]);
    if (texts) row("", "all tokens", drift.all);
  }
  const Windows all = joined(set.texts);
  if (stored)
    table.add_note("stored ≤: how far the mean KL can be from the exact one by storing the baseline");
  if (texts) table.add_note("all tokens: those of all texts, each counting the same");
  table.add_note(fmt::format(
      "protocol {}, context {}, {} windows, {} tokens scored; KL in nats a token; baseline: original "
      "weights, float32 activations and KV cache",
      all.protocol, all.context, drifts[0].all.windows, drifts[0].all.tokens_scored));
  return table.text();
}

}  // namespace whittle
