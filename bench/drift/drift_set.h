#pragma once
// Several models over several texts, one model in memory at a time (and the baseline, unless it was stored).

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bench/drift/drift.h"
#include "bench/drift/drift_text.h"
#include "bench/fingerprint.h"

namespace whittle {

struct DriftSet {
  std::vector<std::filesystem::path> models;
  std::filesystem::path baseline;              // a folder of original weights, unless
  std::shared_ptr<const BaselineFile> stored;  // it was stored
  std::vector<DriftText> texts;                // those of the stored one, where there is one
  KvFormat kv_cache = KvFormat::f16;           // of the models
  std::filesystem::path resume;                // a drift_log; empty: none
  std::string program;                         // its version
};

struct ModelDrift {
  std::string name;                // the folder's own name, its path where two are the same
  std::vector<DriftReport> texts;  // in their order
  DriftReport all;                 // every token of all texts counting the same
};

// Done and total are windows of all texts and models.
using DriftSetProgress = std::function<void(int64_t done, int64_t total, const std::string& model)>;

// Whatever can be refused is, before the first window is run. Throws Error as check_drift and
// BaselineFile::check_model, where models have tokenizers that differ, and for a log of another run.
std::vector<ModelDrift> measure_drift_set(const DriftSet& set, const Team& team,
                                          const DriftSetProgress& progress);

// Keys: see bench/reports/schemas/. gates: one list a model.
nlohmann::json drift_set_json(const DriftSet& set, std::span<const ModelDrift> drifts,
                              std::span<const std::vector<Gate>> gates, const Fingerprint& fingerprint);
// A row a text and model, and one of all texts.
std::string drift_set_text(const DriftSet& set, std::span<const ModelDrift> drifts);

}  // namespace whittle
