#pragma once
// What a model said of a text, so that a later one can be compared with it token by token.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/drift/drift.h"
#include "bench/windows.h"
#include "engine/files/json_file.h"
#include "engine/model.h"

namespace whittle {

struct AccuracyRecord {
  std::string bits;                       // hash of all logits: equal only for the same bits
  std::vector<std::vector<int32_t>> top;  // [windows][scored tokens]: the most likely token
  std::vector<double> window_nll;         // mean, nats a token
  // Against the unquantized baseline.
  std::vector<double> window_kl;      // mean KL, nats a token
  std::vector<double> window_kl_p99;  // 99th percentile within the window
  // Of all positions.
  double kl_p50 = 0, kl_p99 = 0, kl_max = 0;
};

// Both run beside each other, once. Throws Error as measure_drift.
AccuracyRecord record_accuracy(const Model& baseline, const Model& model, const Team& team,
                               const Windows& windows, KvFormat kv_cache, const DriftProgress& progress);
// Whether the model alone says what is stored, bit for bit: it stops behind the first window that differs.
bool same_bits(const Model& model, const Team& team, const Windows& windows, KvFormat kv_cache,
               const AccuracyRecord& stored, const DriftProgress& progress);

// Whether the most likely token was the right one, as a mean over each window.
std::vector<double> window_top_accuracy(const AccuracyRecord& record, const Windows& windows);

nlohmann::json accuracy_json(const AccuracyRecord& record);
// Throws Error, which names the field, for anything that is not of these windows.
AccuracyRecord read_accuracy(const JsonFields& fields, const Windows& windows, int64_t vocab_size);

}  // namespace whittle
