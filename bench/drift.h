#pragma once
// Accuracy drift: a model beside its baseline, over the same windows of tokens.
//
// The baseline runs the original weights with float32 activations and a float32 KV cache. Logits are compared
// window by window and never kept.

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/statistics.h"
#include "engine/model.h"
#include "engine/tokenizer/tokenizer.h"
#include "kernels/kernel_table.h"

namespace whittle {

// A window's first token is its BOS; `first_scored` is the index of the first token whose prediction counts.
struct Windows {
  std::vector<std::vector<int32_t>> ids;
  int64_t first_scored = 1;
  int64_t context = 0;   // ids of a full window
  std::string protocol;  // "windows", "llama.cpp" or "token ids"
};

// The first `count` characters (code points) of UTF-8 text.
std::string first_characters(const std::string& text, int64_t count);

// "windows": the text, tokenized as one string without BOS, is cut into consecutive pieces of context − 1
// tokens (a last partial piece is dropped) and BOS put before each; every token after BOS is scored.
// "llama.cpp": pieces of `context` tokens of the text with BOS, the first token of each replaced by BOS; the
// second half of each is scored, as llama.cpp's perplexity tool does. Throws Error when the protocol is
// unknown, there is no BOS, or the text is shorter than one window.
Windows text_windows(const Tokenizer& tokenizer, std::string_view text, int64_t context,
                     std::string_view protocol);
// A JSON array of windows, each an array of ids beginning with its BOS; every id after the first is scored.
Windows token_windows(const nlohmann::json& windows, const std::string& what);

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

  double baseline_perplexity() const;
  double model_perplexity() const;
  // 100 · (model perplexity / baseline perplexity − 1), and its 95 % interval.
  Interval perplexity_increase_percent() const;
};

using DriftProgress = std::function<void(int64_t done, int64_t total)>;

// `kv_cache` is the model's; both models must have the same vocabulary. tokenizer: to count bytes, may be
// nullptr.
DriftReport measure_drift(const Model& baseline, const Model& model, const Team& team, const Windows& windows,
                          KvFormat kv_cache, const Tokenizer* tokenizer, const DriftProgress& progress);

// Keys: see bench/README.md.
nlohmann::json drift_json(const DriftReport& report, const Windows& windows);
std::string drift_text(const DriftReport& report, const Windows& windows);

}  // namespace whittle
