#pragma once
// What a comparison of recipes found, as a table, as JSON and as a page.

#include <nlohmann/json.hpp>
#include <string>

#include "bench/fingerprint.h"
#include "quant/frontier/frontier.h"

namespace whittle {

// Keys: see bench/reports/schemas/frontier.json.
nlohmann::json comparison_json(const FrontierReport& report, const Fingerprint& fingerprint);
std::string comparison_text(const FrontierReport& report);
// One HTML page that needs nothing else: no network, no script.
std::string comparison_page(const FrontierReport& report);

// What was measured how, a sentence each.
std::vector<std::string> comparison_notes(const FrontierReport& report);

}  // namespace whittle
