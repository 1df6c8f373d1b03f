#include "bench/regression/accuracy_record.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "bench/likelihood.h"
#include "bench/reports/figures.h"
#include "engine/files/file_hash.h"
#include "engine/files/json_record.h"
#include "engine/session.h"
#include "kernels/error.h"

namespace whittle {
namespace {

constexpr RecordField<AccuracyRecord, std::vector<double>> series[] = {
    {"window_nll", &AccuracyRecord::window_nll},
    {"window_kl", &AccuracyRecord::window_kl},
    {"window_kl_p99", &AccuracyRecord::window_kl_p99},
};
constexpr RecordField<AccuracyRecord, double> numbers[] = {
    {"kl_p50", &AccuracyRecord::kl_p50},
    {"kl_p99", &AccuracyRecord::kl_p99},
    {"kl_max", &AccuracyRecord::kl_max},
};

// What a model says, window after window.
class Recorder {
 public:
  Recorder(const Windows& windows, const Team& team) : windows_(windows), team_(team) {}

  // The logits after positions [first, first + rows) of a window; in order.
  void add(size_t window, int64_t first, const Logits& logits) {
    const std::span<const int32_t> ids = windows_.ids[window];
    const int64_t first_scored = windows_.first_scored_of(window);
    if (first == 0) {
      nll_.assign(static_cast<size_t>(windows_.scored(window)), 0);
      record_.top.emplace_back(nll_.size());
    }
    for (int64_t row = 0; row < logits.rows; ++row) bits_.add(std::as_bytes(logits.row(row)));
    std::vector<int32_t>& top = record_.top.back();
    team_.for_each(logits.rows, [&](int64_t row) {
      const int64_t token = first + row + 1;
      if (token < first_scored) return;
      const auto at = static_cast<size_t>(token - first_scored);
      const std::span<const float> values = logits.row(row);
      const int32_t target = ids[static_cast<size_t>(token)];
      top[at] = most_likely(values);
      nll_[at] = log_sum_exp(values) - static_cast<double>(values[static_cast<size_t>(target)]);
    });
    if (first + logits.rows + 1 < std::ssize(ids)) return;
    double sum = 0;
    for (const double value : nll_) sum += value;
    if (!std::isfinite(sum)) fail("window {}: the log likelihoods are not finite", window);
    record_.window_nll.push_back(sum / static_cast<double>(nll_.size()));
  }
  // Whether the last window is as there.
  bool same_as(const AccuracyRecord& other) const {
    const size_t last = record_.window_nll.size() - 1;
    return record_.window_nll[last] == other.window_nll[last] && record_.top[last] == other.top[last];
  }
  AccuracyRecord take() {
    record_.bits = bits_.hex();
    return std::move(record_);
  }

 private:
  const Windows& windows_;
  const Team& team_;
  AccuracyRecord record_;
  ContentHash bits_;
  std::vector<double> nll_;  // of the window that runs
};

}  // namespace

bool same_bits(const Model& model, const Team& team, const Windows& windows, KvFormat kv_cache,
               const AccuracyRecord& stored, const DriftProgress& progress) {
  check_windows(windows, model.spec().vocab_size);
  const int64_t chunk = logit_rows(model.spec().vocab_size);
  Session session(model, team, {windows.context, kv_cache, chunk});
  Recorder recorder(windows, team);
  for (size_t w = 0; w < windows.ids.size(); ++w) {
    run_window(session, windows.ids[w], chunk,
               [&](int64_t first, const Logits& logits) { recorder.add(w, first, logits); });
    if (!recorder.same_as(stored)) return false;
    if (progress) progress(static_cast<int64_t>(w) + 1, std::ssize(windows.ids));
  }
  return recorder.take().bits == stored.bits;
}

AccuracyRecord record_accuracy(const Model& baseline, const Model& model, const Team& team,
                               const Windows& windows, KvFormat kv_cache, const DriftProgress& progress) {
  check_drift(baseline.spec(), model.spec(), windows);
  DriftMeter meter(windows, team);
  Recorder recorder(windows, team);
  DriftSteps steps;
  steps.done = [&](size_t w) { progress(static_cast<int64_t>(w) + 1, std::ssize(windows.ids)); };
  steps.seen = [&](size_t w, int64_t first, const Logits& logits) { recorder.add(w, first, logits); };
  compare_windows(baseline, model, team, kv_cache, meter, steps);
  const DriftReport drift = meter.report();
  AccuracyRecord record = recorder.take();
  record.window_kl = drift.window_kl;
  record.window_kl_p99 = drift.window_kl_p99;
  record.kl_p50 = drift.kl_p50;
  record.kl_p99 = drift.kl_p99;
  record.kl_max = drift.kl_max;
  return record;
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
  for (const auto& [key, values] : series) json[key] = record.*values;
  for (const auto& [key, number] : numbers) json[key] = or_null(record.*number);
  return json;
}

AccuracyRecord read_accuracy(const JsonFields& fields, const Windows& windows, int64_t vocab_size) {
  AccuracyRecord record;
  record.bits = fields.string("bits");
  for (const auto& [key, values] : series)
    record.*values = read_numbers(fields, key, windows.ids.size(), windows.ids.size());
  for (const auto& [key, number] : numbers) {
    const nlohmann::json& value = fields.at(key);
    if (!value.is_number()) fields.reject(key, "expected a number, found " + json_text(value));
    record.*number = value.get<double>();
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
