#pragma once
// Reports held against their JSON Schemas.

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <string>

#include "bench/reports/schema.h"

namespace whittle::test {

// Of a whole report, header included.
inline void check_schema(const nlohmann::json& report) {
  REQUIRE(report.is_object());
  const std::string name = report.value("schema", "");
  INFO(name);
  REQUIRE(name.starts_with("whittle."));
  const auto violation = schema_violation(report, report_schema(name.substr(8)));
  if (violation) FAIL_CHECK(violation->place << ": " << violation->what);
}

// A report as the program wrote it: the header first, and as its schema says.
inline nlohmann::json parse_report(const std::string& text) {
  const auto ordered = nlohmann::ordered_json::parse(text);
  auto key = ordered.begin();
  for (const char* expected : {"schema", "version", "fingerprint"}) {
    REQUIRE(key != ordered.end());
    CHECK(key.key() == expected);
    ++key;
  }
  const nlohmann::json report = nlohmann::json::parse(text);
  check_schema(report);
  return report;
}

}  // namespace whittle::test
