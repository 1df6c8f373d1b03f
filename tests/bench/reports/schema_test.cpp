// The schemas themselves: what every one of them must be like, and that they refuse what is not as they say.

#include "bench/reports/schema.h"

#include <catch2/catch.hpp>
#include <fstream>
#include <functional>

#include "bench/fingerprint.h"
#include "bench/reports/json_report.h"
#include "tests/support/paths.h"
#include "tests/support/reports.h"
#include "tests/support/tiny_model.h"

using namespace whittle;
using nlohmann::json;

namespace {

// What is wrong with one node of a schema, as a sentence; empty: nothing.
std::string fault(const json& node, const json& whole) {
  if (node.contains("$ref")) {
    const std::string reference = node["$ref"];
    if (!reference.starts_with("#/")) return "refers to " + reference;
    if (!whole.contains(json::json_pointer(reference.substr(1)))) return "refers to nothing: " + reference;
  }
  if (!node.contains("properties") || node.value("type", json()) == json()) return "";
  for (const auto& [key, property] : node["properties"].items())
    if (property.value("description", "").empty() && !property.contains("$ref"))
      return key + " has no description";
  if (node.contains("required"))
    for (const json& key : node["required"])
      if (!node["properties"].contains(key)) return "requires " + key.dump() + ", which it does not describe";
  return "";
}

void for_each_object(const json& node, const std::function<void(const json&)>& body) {
  if (node.is_object()) body(node);
  if (node.is_structured())
    for (const json& child : node) for_each_object(child, body);
}

// A report without figures.
json some_report() {
  json report = report_header("quantize-budgets", {.threads = 2, .models = {{"source", "m", "00", "", ""}}});
  report["frontier"] = json::array({{{"target_bits", 4.5},
                                     {"bits_per_weight", 4.4},
                                     {"predicted_kl", nullptr},
                                     {"tuning_tokens", 0},
                                     {"held_out", nullptr}}});
  return report;
}

}  // namespace

TEST_CASE("Every schema is JSON, describes every key, and refers to what is there") {
  size_t reports = 0;
  for (const auto& [name, text] : embedded_schemas()) {
    INFO(name);
    CHECK(test::read_text(test::source_dir() / "bench/reports/schemas" / (std::string(name) + ".json")) ==
          text);
    REQUIRE(json::accept(text));
    const json schema = report_schema(name);
    CHECK(schema["$schema"] == "http://json-schema.org/draft-07/schema#");
    CHECK_FALSE(schema.value("title", "").empty());
    CHECK_FALSE(schema.value("description", "").empty());
    for_each_object(schema, [&](const json& node) { CHECK(fault(node, schema) == ""); });
    if (name == "common") continue;
    ++reports;
    const json& keys = schema["properties"];
    CHECK(keys["schema"]["const"] == "whittle." + std::string(name));
    CHECK(keys["version"]["maximum"] >= 1);
    CHECK(schema["additionalProperties"] == false);
    for (const char* key : {"schema", "version", "fingerprint"})
      CHECK(json(schema["required"]).dump().find(key) != std::string::npos);
  }
  CHECK(reports >= 15);
  // The rules see what they are there for.
  CHECK(fault(json::parse(R"({"type": "object", "properties": {"a": {"type": "null"}}})"), {}) != "");
  CHECK(fault(json::parse(R"({"$ref": "#/definitions/a"})"), json::object()) != "");
  CHECK(fault(json::parse(R"({"type": "object", "properties": {}, "required": ["a"]})"), {}) != "");
  CHECK(report_schema("none").is_null());
}

TEST_CASE("A key that is missing, not documented or of another type is a violation where it stands") {
  const json report = some_report();
  const json schema = report_schema("quantize-budgets");
  test::check_schema(report);
  for (const char* place : {"", "/fingerprint", "/fingerprint/models/0", "/frontier/0"}) {
    const json::json_pointer object(place);
    for (const auto& [key, value] : report[object].items()) {
      INFO(place << "/" << key);
      json wrong = report;
      wrong[object].erase(key);
      const auto missing = schema_violation(wrong, schema);
      REQUIRE(missing);
      CHECK(missing->what.find(key) != std::string::npos);
      wrong = report;
      wrong[object][key] = json::array({json::array({"neither here nor there"})});
      const auto mistyped = schema_violation(wrong, schema);
      REQUIRE(mistyped);
      CHECK(mistyped->place.starts_with(place));
    }
    json wrong = report;
    wrong[object]["undocumented"] = 1;
    const auto more = schema_violation(wrong, schema);
    REQUIRE(more);
    CHECK(more->place == place);
    CHECK(more->what.find("undocumented") != std::string::npos);
  }
}

TEST_CASE("Of millions of violations the first are enough, wherever they stand") {
  json report = some_report();
  const json good = report["frontier"][0];
  report["frontier"] = json::array();
  for (int i = 0; i < 1500; ++i) report["frontier"].push_back(good);
  const json schema = report_schema("quantize-budgets");
  CHECK_FALSE(schema_violation(report, schema));
  report["frontier"].back()["target_bits"] = "many";
  CHECK(schema_violation(report, schema));
  report["frontier"].front()["target_bits"] = "many";
  CHECK(schema_violation(report, schema)->place == "/frontier/0/target_bits");
}
