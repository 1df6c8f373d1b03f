#pragma once
// The JSON Schemas (draft-07) of all that the program writes as JSON: bench/reports/schemas/NAME.json for the
// schema "whittle.NAME". They are strings of the program, and what they say of keys is their documentation.

#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace whittle {

struct EmbeddedSchema {
  std::string_view name, text;
};
// By name; "common" holds what several share, and is of no report.
std::span<const EmbeddedSchema> embedded_schemas();

// The one of that name, with the files that it refers to among its definitions; null where there is none.
nlohmann::json report_schema(std::string_view name);

struct SchemaViolation {
  std::string place;  // a JSON pointer: "/models/0/ttft_ms"
  std::string what;
};
// One place where `json` is not as the schema says: the deepest of those found.
std::optional<SchemaViolation> schema_violation(const nlohmann::json& json, const nlohmann::json& schema);

}  // namespace whittle
