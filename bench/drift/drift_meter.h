#pragma once
// Collects what a model and its baseline say of the same positions, and sums it up.

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "bench/drift/drift_position.h"
#include "bench/statistics.h"
#include "bench/windows.h"
#include "engine/decoder.h"
#include "kernels/threads.h"

namespace whittle {

struct DriftReport {
  int64_t windows = 0, tokens_scored = 0;
  int64_t bytes_scored = 0;                // of text that the scored tokens stand for; 0: unknown
  double baseline_nll = 0, model_nll = 0;  // mean, nats a token
  Interval nll_difference;                 // of per-window means, model − baseline
  Interval kl;                             // KL(baseline ‖ model) in nats, interval from per-window means
  // Of a baseline that was stored: the exact mean KL lies in [low, high]; `mean` is kl.mean.
  std::optional<Interval> kl_exact;
  double kl_p50 = 0, kl_p99 = 0, kl_max = 0;
  double same_top = 0;                    // fraction of positions whose most likely token is the same
  double rms_probability_difference = 0;  // of the true token's probability
  std::vector<double> baseline_window_nll, model_window_nll;
  std::vector<double> window_kl, window_kl_p99;  // the mean, and the 99th percentile within the window

  double baseline_perplexity() const;
  double model_perplexity() const;
  // 100 · (model perplexity / baseline perplexity − 1), and its 95 % interval.
  Interval perplexity_increase_percent() const;
  // How far kl.mean can be from the exact one; 0 where the baseline ran beside.
  double storage_error() const;
  // kl, the ends moved out by what a stored baseline leaves open: what a gate is held against.
  Interval kl_for_gate() const;
};

// Whoever runs the two. Windows and team must outlive it.
class DriftMeter {
 public:
  DriftMeter(const Windows& windows, const Team& team);

  // The logits after positions [first, first + rows) of a window. Throws Error where one is not finite.
  void compare(size_t window, int64_t first, const Logits& baseline, const Logits& model);
  // The same with what was stored of the baseline: for a token of the window and the logits that predict it.
  using Stored = std::function<DriftPosition(int64_t token, std::span<const float> model)>;
  void compare(size_t window, int64_t first, const Stored& stored, const Logits& model);

  const Windows& windows() const { return windows_; }
  // The scored positions of a window; to be set with what another run has measured.
  std::span<DriftPosition> scored(size_t window);
  std::span<const DriftPosition> scored(size_t window) const;
  // Whether the baseline was stored: the report then says what that leaves open.
  bool stored() const { return stored_; }
  void set_stored() { stored_ = true; }

  // When all have been compared.
  DriftReport report() const;

 private:
  using Judge = std::function<DriftPosition(int64_t row, int64_t token)>;
  void judge(size_t window, int64_t first, int64_t rows, const Judge& judge);

  const Windows& windows_;
  const Team& team_;
  std::vector<std::vector<DriftPosition>> positions_;  // [windows, ids]
  bool stored_ = false;
};

// Of several texts together, every token counting the same.
DriftReport drift_report(std::span<const DriftMeter* const> meters);

}  // namespace whittle
