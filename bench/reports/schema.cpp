#include "bench/reports/schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>
#include <valijson/adapters/nlohmann_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validation_results.hpp>
#include <valijson/validator.hpp>

#include "engine/files/json_file.h"

namespace whittle {
namespace {

using nlohmann::json;
using Adapter = valijson::adapters::NlohmannJsonAdapter;

json parsed(std::string_view name) {
  const std::span<const EmbeddedSchema> all = embedded_schemas();
  const auto found = std::ranges::find(all, name, &EmbeddedSchema::name);
  return found == all.end() ? json(nullptr) : json::parse(found->text);
}

// Makes references to other files ones within the document, and gathers the files' names in `files`. file:
// which one `node` is of; empty: the document itself.
void localize(json& node, const std::string& file, std::set<std::string>& files) {
  if (node.is_structured())
    for (json& child : node) localize(child, file, files);
  if (!node.is_object() || !node.contains("$ref")) return;
  std::string& reference = node["$ref"].get_ref<std::string&>();
  const size_t end = reference.find('#');
  const std::string other = end == 0 ? file : reference.substr(0, end);
  if (other.empty()) return;
  files.insert(other);
  reference = fmt::format("#/definitions/{}{}", other, reference.substr(end + 1));
}

// The same with at most so many elements of each array and object. nodes: grows by how many it has.
json cut(const json& node, size_t most, size_t& nodes) {
  ++nodes;
  if (!node.is_structured()) return node;
  json copy = node.is_array() ? json::array() : json::object();
  for (const auto& [key, child] : node.items()) {
    if (copy.size() == most) break;
    if (node.is_array())
      copy.push_back(cut(child, most, nodes));
    else
      copy[key] = cut(child, most, nodes);
  }
  return copy;
}

// In the steps that the validator gives: "<root>", "[models]", "[0]".
std::string pointer_to(const std::vector<std::string>& steps) {
  json::json_pointer pointer;
  for (const std::string& step : steps)
    if (step.starts_with('[') && step.ends_with(']')) pointer /= step.substr(1, step.size() - 2);
  return pointer.to_string();
}

}  // namespace

json report_schema(std::string_view name) {
  json schema = parsed(name);
  if (schema.is_null()) return schema;
  std::set<std::string> files;
  localize(schema, "", files);
  for (bool more = true; std::exchange(more, false);)
    for (const std::string& file : std::set(files)) {
      if (schema["definitions"].contains(file)) continue;
      json& whole = schema["definitions"][file] = parsed(file.substr(0, file.rfind('.')));
      localize(whole, file, files);
      more = true;
    }
  return schema;
}

std::optional<SchemaViolation> schema_violation(const json& document, const json& schema) {
  valijson::Schema rules;
  valijson::SchemaParser().populateSchema(Adapter(schema), rules);
  valijson::Validator validator;
  // Ends at the first violation, and keeps none: there may be millions.
  if (validator.validate(rules, Adapter(document), nullptr)) return std::nullopt;
  constexpr size_t most_nodes = 1 << 20;
  for (const size_t most : {1000, 100}) {
    size_t nodes = 0;
    const json shortened = cut(document, most, nodes);
    valijson::ValidationResults results;
    if (nodes > most_nodes || validator.validate(rules, Adapter(shortened), &results) || !results.numErrors())
      continue;
    const auto deepest = std::ranges::max_element(
        results, {}, [](const valijson::ValidationResults::Error& error) { return error.context.size(); });
    SchemaViolation violation{pointer_to(deepest->context), deepest->description};
    if (violation.what.ends_with('.')) violation.what.pop_back();
    const json::json_pointer place(violation.place);
    if (shortened.contains(place) && !shortened[place].is_object())
      violation.what += "; found " + json_text(shortened[place]);
    return violation;
  }
  return SchemaViolation{"", "somewhere in its long arrays is what its schema does not allow"};
}

}  // namespace whittle
