#include "bench/regression/accuracy_record.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

#include "bench/likelihood.h"
#include "bench/reports/figures.h"
#include "engine/files/file_hash.h"
#include "engine/session.h"
#include "kernels/error.h"

namespace whittle {
namespace {

struct SeriesField {
  const char* key;
  std::vector<double> AccuracyRecord::*values;
};
constexpr std::array<SeriesField, 3> series = {{{"window_nll", &AccuracyRecord::window_nll},
                                                {"window_kl", &AccuracyRecord::window_kl},
                                                {"window_kl_p99", &AccuracyRecord::window_kl_p99}}};

struct NumberField {
  const char* key;
  double AccuracyRecord::*value;
};
constexpr std::array<NumberField, 3> numbers = {{{"kl_p50", &AccuracyRecord::kl_p50},
                                                 {"kl_p99", &AccuracyRecord::kl_p99},
                                                 {"kl_max", &AccuracyRecord::kl_max}}};

}  // namespace

AccuracyRecord record_accuracy(const Model& model, const Team& team, const Windows& windows,
                               KvFormat kv_cache, const DriftProgress& progress) {
  check_windows(windows, model.spec().vocab_size);
  const int64_t chunk = logit_rows(model.spec().vocab_size);
  Session session(model, team, {windows.context, kv_cache, chunk});
  AccuracyRecord record;
  ContentHash bits;
  for (size_t w = 0; w < windows.ids.size(); ++w) {
    const std::span<const int32_t> ids = windows.ids[w];
    const int64_t first_scored = windows.first_scored_of(w);
    std::vector<int32_t>& top = record.top.emplace_back(static_cast<size_t>(windows.scored(w)));
    std::vector<double> nll(top.size());
    run_window(session, ids, chunk, [&](int64_t first, const Logits& logits) {
      for (int64_t row = 0; row < logits.rows; ++row) bits.add(std::as_bytes(logits.row(row)));
      team.for_each(logits.rows, [&](int64_t row) {
        const int64_t token = first + row + 1;
        if (token < first_scored) return;
        const auto at = static_cast<size_t>(token - first_scored);
        const std::span<const float> values = logits.row(row);
        const int32_t target = ids[static_cast<size_t>(token)];
        top[at] = most_likely(values);
        nll[at] = log_sum_exp(values) - static_cast<double>(values[static_cast<size_t>(target)]);
      });
    });
    double sum = 0;
    for (const double value : nll) sum += value;
    if (!std::isfinite(sum)) fail("window {}: the log likelihoods are not finite", w);
    record.window_nll.push_back(sum / static_cast<double>(nll.size()));
    if (progress) progress(static_cast<int64_t>(w) + 1, std::ssize(windows.ids));
  }
  record.bits = bits.hex();
  return record;
}

void add_drift(AccuracyRecord& record, const DriftReport& drift) {
  record.window_kl = drift.window_kl;
  record.window_kl_p99 = drift.window_kl_p99;
  record.kl_p50 = drift.kl_p50;
  record.kl_p99 = drift.kl_p99;
  record.kl_max = drift.kl_max;
}

std::vector<double> window_top_accuracy(const AccuracyRecord& record, const Windows& windows) {
  std::vector<double> accuracy;
  for (size_t w = 0; w < windows.ids.size(); ++w) {
    const auto scored = std::span(windows.ids[w]).subspan(static_cast<size_t>(windows.first_scored_of(w)));
    int64_t right = 0;
    for (size_t i = 0; i < scored.size(); ++i) right += record.top[w][i] == scored[i];
    accuracy.push_back(static_cast<double>(right) / static_cast<double>(scored.size()));
  }
  return accuracy;
}

nlohmann::json accuracy_json(const AccuracyRecord& record) {
  nlohmann::json json = {{"bits", record.bits}, {"top", record.top}};
  for (const SeriesField& field : series) json[field.key] = record.*field.values;
  for (const NumberField& field : numbers) json[field.key] = or_null(record.*field.value);
  return json;
}

AccuracyRecord read_accuracy(const JsonFields& fields, const Windows& windows, int64_t vocab_size) {
  AccuracyRecord record;
  record.bits = fields.string("bits");
  for (const SeriesField& field : series) {
    const nlohmann::json& values = fields.at(field.key);
    if (!values.is_array() || values.size() != windows.ids.size())
      fields.reject(field.key, fmt::format("expected an array of {} numbers", windows.ids.size()));
    for (const nlohmann::json& value : values) {
      if (!value.is_number() || !std::isfinite(value.get<double>()) || value.get<double>() < 0)
        fields.reject(field.key, "expected numbers of at least 0, found " + json_text(value));
      (record.*field.values).push_back(value.get<double>());
    }
  }
  for (const NumberField& field : numbers) {
    const nlohmann::json& value = fields.at(field.key);
    if (!value.is_number()) fields.reject(field.key, "expected a number, found " + json_text(value));
    record.*field.value = value.get<double>();
  }
  const nlohmann::json& top = fields.at("top");
  if (!top.is_array() || top.size() != windows.ids.size())
    fields.reject("top", fmt::format("expected an array of {} windows", windows.ids.size()));
  for (size_t w = 0; w < top.size(); ++w) {
    const int64_t scored = windows.scored(w);
    const nlohmann::json& ids = top[w];
    if (!ids.is_array() || std::ssize(ids) != scored)
      fields.reject("top", fmt::format("window {}: expected an array of {} ids", w, scored));
    std::vector<int32_t>& read = record.top.emplace_back();
    for (const nlohmann::json& id : ids) {
      if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() >= vocab_size)
        fields.reject(
            "top", fmt::format("window {}: expected an id below {}, found {}", w, vocab_size, json_text(id)));
      read.push_back(id.get<int32_t>());
    }
  }
  return record;
}

}  // namespace whittle
