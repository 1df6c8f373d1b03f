#pragma once
// A comparison for people and for programs.

#include <nlohmann/json.hpp>
#include <string>

#include "bench/fingerprint.h"
#include "bench/peers/comparison.h"
#include "bench/reports/machine_report.h"

namespace whittle {

std::string comparison_text(const Comparison& comparison, const MachineReport& machine);
// Keys: see bench/reports/schemas/.
nlohmann::json comparison_json(const Comparison& comparison, const MachineReport& machine,
                               const Fingerprint& fingerprint);

}  // namespace whittle
