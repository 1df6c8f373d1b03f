#pragma once
// Accuracy drift: a model beside its baseline, over the same windows of tokens.
//
// The baseline runs the original weights with float32 activations and a float32 KV cache. Logits are compared
// window by window and never kept.

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "bench/gate.h"
#include "bench/statistics.h"
#include "bench/windows.h"
#include "engine/decoder.h"
#include "engine/model.h"
#include "engine/tokenizer/tokenizer.h"
#include "kernels/kernel_table.h"

namespace whittle {

struct DriftReport {
  int64_t windows = 0, tokens_scored = 0;
  int64_t bytes_scored = 0;                // of text that the scored tokens stand for; 0: unknown
  double baseline_nll = 0, model_nll = 0;  // mean, nats a token
  Interval nll_difference;                 // of per-window means, model − baseline
  Interval kl;                             // KL(baseline ‖ model) in nats, interval from per-window means
  double kl_p50 = 0, kl_p99 = 0, kl_max = 0;
  double same_top = 0;                    // fraction of positions whose most likely token is the same
  double rms_probability_difference = 0;  // of the true token's probability
  std::vector<double> baseline_window_nll, model_window_nll;
  std::vector<double> window_kl, window_kl_p99;  // the mean, and the 99th percentile within the window

  double baseline_perplexity() const;
  double model_perplexity() const;
  // 100 · (model perplexity / baseline perplexity − 1), and its 95 % interval.
  Interval perplexity_increase_percent() const;
};

// Collects what two models say of the same positions, whoever runs them. Windows and team must outlive it.
class DriftMeter {
 public:
  DriftMeter(const Windows& windows, const Team& team);
  // The logits after positions [first, first + rows) of a window. Throws Error where one is not finite.
  void compare(size_t window, int64_t first, const Logits& baseline, const Logits& model);
  // When all have been compared.
  DriftReport report() const;

  // What one position says of the two models.
  struct Position {
    double baseline_nll = 0, model_nll = 0, kl = 0;
    bool same_top = false;
  };

 private:
  const Windows& windows_;
  const Team& team_;
  std::vector<std::vector<Position>> positions_;  // [windows, ids]
};

// Positions whose logits are in memory at once: few enough that those of a large vocabulary stay small.
int64_t logit_rows(int64_t vocab_size);

using DriftProgress = std::function<void(int64_t done, int64_t total)>;

// Throws Error where the two models cannot be compared on these windows: vocabularies that differ, or what
// check_windows refuses.
void check_drift(const ModelSpec& baseline, const ModelSpec& model, const Windows& windows);

// `kv_cache` is the model's. tokenizer: to count bytes, may be nullptr. Throws Error as check_drift, before
// anything is computed, and where a logit is not finite.
DriftReport measure_drift(const Model& baseline, const Model& model, const Team& team, const Windows& windows,
                          KvFormat kv_cache, const Tokenizer* tokenizer, const DriftProgress& progress);

// `gates`: the limits that the figures were held against. Keys: see bench/reports/README.md.
nlohmann::json drift_json(const DriftReport& report, const Windows& windows, std::span<const Gate> gates);
std::string drift_text(const DriftReport& report, const Windows& windows);

}  // namespace whittle
