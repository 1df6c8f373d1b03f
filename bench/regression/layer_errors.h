#pragma once
// Where a model's drift comes from, as few enough numbers to be stored and compared.

#include <string>
#include <utility>
#include <vector>

#include "bench/drift/layer_drift.h"

namespace whittle {

// In percent, by "layer 3 down" (a linear's output alone), "layer 3" (what the whole layer adds) or "head".
// What is no finite number is left out.
using LayerErrors = std::vector<std::pair<std::string, double>>;
LayerErrors layer_errors(const LayerDriftReport& report);

// Those that grew most, worst first, in words: at most `most`, and only by a twentieth or more.
std::vector<std::string> suspects(const LayerErrors& before, const LayerErrors& now, size_t most = 5);

}  // namespace whittle
