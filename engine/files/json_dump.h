#pragma once
// JSON as text, and in what two of them differ.

#include <nlohmann/json.hpp>
#include <string>

namespace whittle {

// Bytes that are no UTF-8, as names of files may hold, are replaced. indent −1: one line.
std::string dump_json(const nlohmann::json& value, int indent = -1);
std::string dump_json(const nlohmann::ordered_json& value, int indent = -1);

// The first field in which two objects differ: "\"context\" was 512, now 256".
std::string first_difference(const nlohmann::json& before, const nlohmann::json& now);

}  // namespace whittle
