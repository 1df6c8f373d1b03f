#include "bench/drift/drift_meter.h"

#include <algorithm>
#include <cmath>

#include "kernels/error.h"

namespace whittle {

double DriftReport::baseline_perplexity() const { return std::exp(baseline_nll); }
double DriftReport::model_perplexity() const { return std::exp(model_nll); }
Interval DriftReport::perplexity_increase_percent() const {
  const auto percent = [](double difference) {  // without an end, it stays without
    return std::isfinite(difference) ? 100 * std::expm1(difference) : difference;
  };
  return {percent(model_nll - baseline_nll), percent(nll_difference.low), percent(nll_difference.high)};
}

double DriftReport::storage_error() const {
  return kl_exact ? std::max(kl.mean - kl_exact->low, kl_exact->high - kl.mean) : 0;
}

Interval DriftReport::kl_for_gate() const {
  if (!kl_exact) return kl;
  return {kl.mean, kl.low - (kl.mean - kl_exact->low), kl.high + (kl_exact->high - kl.mean)};
}

DriftMeter::DriftMeter(const Windows& windows, const Team& team) : windows_(windows), team_(team) {
  for (const std::vector<int32_t>& ids : windows.ids) positions_.emplace_back(ids.size());
}

std::span<DriftPosition> DriftMeter::scored(size_t window) {
  return std::span(positions_[window]).subspan(static_cast<size_t>(windows_.first_scored_of(window)));
}

std::span<const DriftPosition> DriftMeter::scored(size_t window) const {
  return std::span(positions_[window]).subspan(static_cast<size_t>(windows_.first_scored_of(window)));
}

void DriftMeter::judge(size_t window, int64_t first, int64_t rows, const Judge& judge) {
  std::vector<DriftPosition>& positions = positions_[window];
  const int64_t scored_first = std::max(windows_.first_scored_of(window) - first - 1, int64_t{0}),
                scored_end = std::min(rows, std::ssize(positions) - first - 1);
  if (scored_first >= scored_end) return;
  team_.for_each(scored_end - scored_first, [&](int64_t i) {
    const int64_t row = scored_first + i, token = first + row + 1;
    positions[static_cast<size_t>(token)] = judge(row, token);
  });
  for (int64_t token = first + scored_first + 1; token <= first + scored_end; ++token) {
    const DriftPosition& position = positions[static_cast<size_t>(token)];
    if (!std::isfinite(position.kl + position.kl_above) || !std::isfinite(position.model_nll))
      fail("window {}: token {}: the logits are not finite", window, token);
  }
}

void DriftMeter::compare(size_t window, int64_t first, const Logits& baseline, const Logits& model) {
  const std::vector<int32_t>& ids = windows_.ids[window];
  judge(window, first, model.rows, [&](int64_t row, int64_t token) {
    return compare_predictions(baseline.row(row), model.row(row), ids[static_cast<size_t>(token)]);
  });
}

void DriftMeter::compare(size_t window, int64_t first, const Stored& stored, const Logits& model) {
  judge(window, first, model.rows, [&](int64_t row, int64_t token) { return stored(token, model.row(row)); });
}

DriftReport DriftMeter::report() const {
  const DriftMeter* const meters[] = {this};
  return drift_report(meters);
}

DriftReport drift_report(std::span<const DriftMeter* const> meters) {
  DriftReport report;
  std::vector<double> kls, window_difference;
  double baseline_sum = 0, model_sum = 0, kl_sum = 0, square_sum = 0, below = 0, above = 0;
  int64_t same = 0;
  bool stored = false;
  for (const DriftMeter* meter : meters) {
    stored = stored || meter->stored();
    for (size_t w = 0; w < meter->windows().ids.size(); ++w) {
      const std::span<const DriftPosition> positions = meter->scored(w);
      double window_baseline = 0, window_model = 0, window_kl_sum = 0;
      const size_t first_kl = kls.size();
      for (const DriftPosition& position : positions) {
        window_baseline += position.baseline_nll;
        window_model += position.model_nll;
        window_kl_sum += position.kl;
        below += position.kl_below;
        above += position.kl_above;
        same += position.same_top;
        const double difference = std::exp(-position.model_nll) - std::exp(-position.baseline_nll);
        square_sum += difference * difference;
        kls.push_back(position.kl);
      }
      const auto scored = static_cast<double>(positions.size());
      report.baseline_window_nll.push_back(window_baseline / scored);
      report.model_window_nll.push_back(window_model / scored);
      report.window_kl.push_back(window_kl_sum / scored);
      report.window_kl_p99.push_back(quantile(std::span(kls).subspan(first_kl), 0.99));
      window_difference.push_back((window_model - window_baseline) / scored);
      baseline_sum += window_baseline;
      model_sum += window_model;
      kl_sum += window_kl_sum;
    }
  }
  report.windows = std::ssize(report.window_kl);
  report.tokens_scored = std::ssize(kls);
  const auto count = static_cast<double>(kls.size());
  report.baseline_nll = baseline_sum / count;
  report.model_nll = model_sum / count;
  report.nll_difference = mean_interval_95(window_difference);
  report.kl = mean_interval_95(report.window_kl);
  report.kl.mean = kl_sum / count;
  if (stored) report.kl_exact = {report.kl.mean, (kl_sum - below) / count, (kl_sum + above) / count};
  report.kl_p50 = median(kls);
  report.kl_p99 = quantile(kls, 0.99);
  report.kl_max = quantile(kls, 1);
  report.same_top = static_cast<double>(same) / count;
  report.rms_probability_difference = std::sqrt(square_sum / count);
  return report;
}

}  // namespace whittle
