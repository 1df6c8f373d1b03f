#pragma once
// Accuracy drift: a model beside its baseline, over the same windows of tokens.
//
// The baseline runs the original weights with float32 activations and a float32 KV cache, beside the model or
// once before (baseline_file.h). Logits are compared window by window and never kept.

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "bench/drift/baseline_file.h"
#include "bench/drift/drift_meter.h"
#include "bench/gate.h"
#include "bench/windows.h"
#include "engine/model.h"
#include "engine/session.h"
#include "engine/tokenizer/tokenizer.h"
#include "kernels/kernel_table.h"

namespace whittle {

// Positions whose logits are in memory at once: few enough that those of a large vocabulary stay small.
int64_t logit_rows(int64_t vocab_size);

using DriftProgress = std::function<void(int64_t done, int64_t total)>;

// Throws Error where the two models cannot be compared on these windows: vocabularies that differ, or what
// check_windows refuses.
void check_drift(const ModelSpec& baseline, const ModelSpec& model, const Windows& windows);

// Runs a window from an empty cache on, `chunk` tokens at a time, of which the last is none: nothing follows
// it. visit gets the logits after positions [first, first + rows).
void run_window(Session& session, std::span<const int32_t> ids, int64_t chunk,
                const std::function<void(int64_t first, const Logits& logits)>& visit);

// What is said of each window.
struct DriftSteps {
  std::function<bool(size_t window)> known;  // whether the meter has it already; may be empty
  std::function<void(size_t window)> done;
  // The model's logits as they come, after positions [first, first + rows); may be empty.
  std::function<void(size_t window, int64_t first, const Logits& model)> seen = {};
};
// Fills the meter, which has windows that check_drift has seen. `kv_cache` is the model's. Throws Error where
// a logit is not finite.
void compare_windows(const Model& baseline, const Model& model, const Team& team, KvFormat kv_cache,
                     DriftMeter& meter, const DriftSteps& steps);
// The same with a stored baseline; the meter has the windows of its text of this number. Throws Error also
// where the stored values cannot be.
void compare_windows(const BaselineFile& baseline, size_t text, const Model& model, const Team& team,
                     KvFormat kv_cache, DriftMeter& meter, const DriftSteps& steps);

// All of it for one text. tokenizer: to count bytes, may be nullptr. Throws Error as check_drift, before
// anything is computed, and where a logit is not finite.
DriftReport measure_drift(const Model& baseline, const Model& model, const Team& team, const Windows& windows,
                          KvFormat kv_cache, const Tokenizer* tokenizer, const DriftProgress& progress);

// `gates`: the limits that the figures were held against. Keys: see bench/reports/schemas/.
nlohmann::json drift_json(const DriftReport& report, const Windows& windows, std::span<const Gate> gates);
std::string drift_text(const DriftReport& report, const Windows& windows);

}  // namespace whittle
