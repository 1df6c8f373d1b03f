#pragma once
// What `whittle soak` found, as a table and as JSON. Keys: README.md.

#include <nlohmann/json.hpp>
#include <string>

#include "bench/fingerprint.h"
#include "bench/soak/soak.h"

namespace whittle {

std::string soak_text(const std::string& model, const SoakReport& report);
nlohmann::json soak_json(const std::string& model, const SoakReport& report, const Fingerprint& fingerprint);
// Why it does not pass: a line without its end; empty where it does.
std::string soak_failure(const SoakReport& report);

}  // namespace whittle
