#pragma once
// Drift layer by layer: which block and which linear of a model lost what.
//
// Baseline and model run the same windows, each on its own residual stream, layer by layer. An error is
// ‖y − y₀‖ / ‖y₀‖ over the tokens of the text, sums in float64 in the order of tokens: y of the model, y₀ of
// the baseline. The first token of a window is left out: what passes there is many times larger than at any
// other (an attention sink), and would hide them.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <vector>

#include "bench/drift/drift.h"
#include "bench/windows.h"
#include "engine/inventory.h"
#include "engine/model.h"
#include "kernels/kernel_table.h"

namespace whittle {

struct RelativeError {
  double difference = 0, power = 0;  // sums of squares of y − y₀, and of y₀
  // 0 where both are the same, ∞ where only y₀ is 0, no number where a value was none.
  double value() const;
};

struct LinearDrift {
  Role role = Role::q;
  RelativeError input;   // of what it reads, each model on its own stream
  RelativeError output;  // of the linear alone: both read the baseline's input
};

struct LayerDrift {
  RelativeError stream;  // the residual stream after the layer, each model on its own
  RelativeError alone;   // the same, where the model's layer is given the baseline's stream: what it adds
  std::vector<LinearDrift> linears;  // in order of their roles
};

struct LayerDriftReport {
  int64_t tokens = 0;
  RelativeError embedding;  // the stream before the first layer
  std::vector<LayerDrift> layers;
  LinearDrift head;
};

// Whether two models have layers of the same shapes, which can be compared one by one.
bool same_layers(const ModelSpec& a, const ModelSpec& b);

// `kv_cache` is the model's. Memory: what one layer computes for the longest window, and a KV cache of each
// model. Throws Error as check_drift, and unless
// same_layers().
LayerDriftReport measure_layer_drift(const Model& baseline, const Model& model, const Team& team,
                                     const Windows& windows, KvFormat kv_cache,
                                     const DriftProgress& progress);

// Keys: see bench/reports/schemas/.
nlohmann::json layer_drift_json(const LayerDriftReport& report);
std::string layer_drift_text(const LayerDriftReport& report);

}  // namespace whittle
