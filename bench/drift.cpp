#include "bench/drift.h"

#include <algorithm>
#include <cmath>

#include "bench/likelihood.h"
#include "engine/session.h"
#include "kernels/option_error.h"

namespace whittle {
namespace {

using Position = DriftMeter::Position;

Position compare(std::span<const float> baseline, std::span<const float> model, int32_t target) {
  const double baseline_norm = log_sum_exp(baseline), model_norm = log_sum_exp(model);
  Position position;
  position.baseline_nll = baseline_norm - static_cast<double>(baseline[static_cast<size_t>(target)]);
  position.model_nll = model_norm - static_cast<double>(model[static_cast<size_t>(target)]);
  for (size_t i = 0; i < baseline.size(); ++i) {
    const double log_p = static_cast<double>(baseline[i]) - baseline_norm;
    const double log_q = static_cast<double>(model[i]) - model_norm;
    position.kl += std::exp(log_p) * (log_p - log_q);
  }
  position.kl = std::max(position.kl, 0.0);  // rounding may leave −1e-17 where both agree
  position.same_top = std::max_element(baseline.begin(), baseline.end()) - baseline.begin() ==
                      std::max_element(model.begin(), model.end()) - model.begin();
  return position;
}

}  // namespace

int64_t logit_rows(int64_t vocab_size) {
  return std::clamp<int64_t>((int64_t{1} << 24) / vocab_size, 8, 128);
}

double DriftReport::baseline_perplexity() const { return std::exp(baseline_nll); }
double DriftReport::model_perplexity() const { return std::exp(model_nll); }
Interval DriftReport::perplexity_increase_percent() const {
  const auto percent = [](double difference) {  // without an end, it stays without
    return std::isfinite(difference) ? 100 * std::expm1(difference) : difference;
  };
  return {percent(model_nll - baseline_nll), percent(nll_difference.low), percent(nll_difference.high)};
}

void check_drift(const ModelSpec& baseline, const ModelSpec& model, const Windows& windows) {
  if (baseline.vocab_size != model.vocab_size)
    fail_option("baseline", "the vocabularies differ: {} tokens there, {} in the model", baseline.vocab_size,
                model.vocab_size);
  check_windows(windows, model.vocab_size);
}

DriftMeter::DriftMeter(const Windows& windows, const Team& team) : windows_(windows), team_(team) {
  for (const std::vector<int32_t>& ids : windows.ids) positions_.emplace_back(ids.size());
}

void DriftMeter::compare(size_t window, int64_t first, const Logits& baseline, const Logits& model) {
  const std::vector<int32_t>& ids = windows_.ids[window];
  std::vector<Position>& positions = positions_[window];
  const auto scored = [&](int64_t row) {
    const int64_t target = first + row + 1;
    return target >= windows_.first_scored && target < std::ssize(ids);
  };
  team_.for_each(model.rows, [&](int64_t row) {
    if (!scored(row)) return;
    const auto target = static_cast<size_t>(first + row + 1);
    positions[target] = whittle::compare(baseline.row(row), model.row(row), ids[target]);
  });
  for (int64_t row = 0; row < model.rows; ++row) {
    if (!scored(row)) continue;
    const Position& position = positions[static_cast<size_t>(first + row + 1)];
    if (!std::isfinite(position.kl) || !std::isfinite(position.model_nll))
      fail("window {}: token {}: the logits are not finite", window, first + row + 1);
  }
}

DriftReport DriftMeter::report() const {
  DriftReport report;
  std::vector<double> kls, window_difference;
  double baseline_sum = 0, model_sum = 0, kl_sum = 0, square_sum = 0;
  int64_t same = 0;
  for (const std::vector<Position>& positions : positions_) {
    double window_baseline = 0, window_model = 0, window_kl_sum = 0;
    const auto first_kl = kls.size();
    for (auto i = static_cast<size_t>(windows_.first_scored); i < positions.size(); ++i) {
      const Position& position = positions[i];
      window_baseline += position.baseline_nll;
      window_model += position.model_nll;
      window_kl_sum += position.kl;
      same += position.same_top;
      const double difference = std::exp(-position.model_nll) - std::exp(-position.baseline_nll);
      square_sum += difference * difference;
      kls.push_back(position.kl);
    }
    const auto scored = static_cast<double>(std::ssize(positions) - windows_.first_scored);
    report.baseline_window_nll.push_back(window_baseline / scored);
    report.model_window_nll.push_back(window_model / scored);
    report.window_kl.push_back(window_kl_sum / scored);
    report.window_kl_p99.push_back(quantile(std::span(kls).subspan(first_kl), 0.99));
    window_difference.push_back((window_model - window_baseline) / scored);
    baseline_sum += window_baseline;
    model_sum += window_model;
    kl_sum += window_kl_sum;
  }
  report.windows = std::ssize(windows_.ids);
  report.tokens_scored = std::ssize(kls);
  const auto count = static_cast<double>(kls.size());
  report.baseline_nll = baseline_sum / count;
  report.model_nll = model_sum / count;
  report.nll_difference = mean_interval_95(window_difference);
  report.kl = mean_interval_95(report.window_kl);
  report.kl.mean = kl_sum / count;
  report.kl_p50 = median(kls);
  report.kl_p99 = quantile(kls, 0.99);
  report.kl_max = quantile(kls, 1);
  report.same_top = static_cast<double>(same) / count;
  report.rms_probability_difference = std::sqrt(square_sum / count);
  return report;
}

DriftReport measure_drift(const Model& baseline, const Model& model, const Team& team, const Windows& windows,
                          KvFormat kv_cache, const Tokenizer* tokenizer, const DriftProgress& progress) {
  check_drift(baseline.spec(), model.spec(), windows);
  const int64_t chunk = logit_rows(model.spec().vocab_size);
  Session baseline_session(baseline, team, {windows.context, KvFormat::f32, chunk});
  Session model_session(model, team, {windows.context, kv_cache, chunk});
  DriftMeter meter(windows, team);
  int64_t bytes = 0;
  for (size_t w = 0; w < windows.ids.size(); ++w) {
    const std::span<const int32_t> ids = windows.ids[w];
    const auto size = static_cast<int64_t>(ids.size());
    baseline_session.rewind(0);
    model_session.rewind(0);
    for (int64_t done = 0; done < size - 1; done += chunk) {  // nothing follows the last token
      const auto part =
          ids.subspan(static_cast<size_t>(done), static_cast<size_t>(std::min(chunk, size - 1 - done)));
      const Logits ours = model_session.forward_all(part);
      meter.compare(w, done, baseline_session.forward_all(part), ours);
    }
    if (tokenizer)
      bytes += static_cast<int64_t>(
          tokenizer->decode(ids.subspan(static_cast<size_t>(windows.first_scored)), true).size());
    if (progress) progress(static_cast<int64_t>(w) + 1, static_cast<int64_t>(windows.ids.size()));
  }
  DriftReport report = meter.report();
  report.bytes_scored = bytes;
  return report;
}

}  // namespace whittle
