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

// The same with at most so many elements of each array.
json cut(const json& node, size_t most) {
  if (!node.is_structured()) return node;
  json copy = node.is_array() ? json::array() : json::object();
  if (node.is_array())
    for (size_t i = 0; i < std::min(node.size(), most); ++i) copy.push_back(cut(node[i], most));
  else
    for (const auto& [key, child] : node.items()) copy[key] = cut(child, most);
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
  constexpr size_t most = 1000;
  const json shortened = cut(document, most);
  valijson::ValidationResults results;
  if (validator.validate(rules, Adapter(shortened), &results))
    return SchemaViolation{"", "an array has what its schema does not allow after its first 1000 elements"};
  const auto deepest = std::ranges::max_element(
      results, {}, [](const valijson::ValidationResults::Error& error) { return error.context.size(); });
  const std::string place = pointer_to(deepest->context);
  std::string what = deepest->description;
  if (what.ends_with('.')) what.pop_back();
  const json& found = shortened[json::json_pointer(place)];
  if (!found.is_object()) what += "; found " + json_text(found);
  return SchemaViolation{place, what};
}

}  // namespace whittle
