#pragma once
// What `whittle estimate` found, as a table and as JSON. Keys: README.md.

#include <nlohmann/json.hpp>
#include <string>

#include "bench/estimate/estimate.h"
#include "bench/fingerprint.h"

namespace whittle {

std::string estimate_text(const EstimateReport& report);
nlohmann::json estimate_json(const EstimateReport& report, const Fingerprint& fingerprint);

}  // namespace whittle
