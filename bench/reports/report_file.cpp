#include "bench/reports/report_file.h"

#include <algorithm>
#include <iostream>
#include <iterator>
#include <limits>
#include <optional>
#include <vector>

#include "bench/reports/schema.h"
#include "engine/files/json_file.h"
#include "kernels/error.h"

namespace whittle {
namespace {

using nlohmann::json;

constexpr int64_t most_bytes = int64_t{128} << 20;
constexpr std::string_view prefix = "whittle.";

// What stands in a file, as messages show it.
std::string shown(std::string text) {
  constexpr size_t most = 300;
  if (text.size() > most) text = text.substr(0, most) + "…";
  return printable(text);
}

// What tells a report from before it named its schema; the first one that has all keys.
struct Unnamed {
  const char* name;
  std::vector<const char*> keys;
};
const std::vector<Unnamed>& unnamed() {
  static const std::vector<Unnamed> all = {{"quantize", {"modules", "output_errors"}},
                                           {"quantize-budgets", {"frontier"}},
                                           {"prune", {"fitted", "kv_bytes_per_token"}},
                                           {"inspect", {"architecture", "tensors"}},
                                           {"generate", {"finish_reason", "ids"}},
                                           {"compare-peers", {"machine", "protocol", "cells"}},
                                           {"machine", {"machine"}}};
  return all;
}

json parsed(const std::string& path, const std::string& what) {
  if (path != "-") return read_json_file(path, most_bytes);
  std::string text;
  for (std::istreambuf_iterator<char> next(std::cin), end; next != end; ++next) {
    text += *next;
    if (std::ssize(text) > most_bytes) fail("{}: more than {} bytes", what, most_bytes);
  }
  return parse_json(text, what);
}

// Where a count stands that no int64_t holds: it would change where it is read.
std::optional<json::json_pointer> huge_number(const json& node) {
  if (node.is_number_unsigned() && node.get<uint64_t>() > uint64_t{std::numeric_limits<int64_t>::max()})
    return json::json_pointer();
  if (node.is_object())
    for (const auto& [key, child] : node.items())
      if (const auto below = huge_number(child)) return json::json_pointer() / key / *below;
  if (node.is_array())
    for (size_t i = 0; i < node.size(); ++i)
      if (const auto below = huge_number(node[i])) return json::json_pointer() / i / *below;
  return std::nullopt;
}

// The header as reports have it now.
void complete_header(json& report, const std::string& what) {
  if (!report.is_object()) fail("{}: expected a report, found {}", what, json_text(report));
  if (!report.contains("schema")) {
    const auto found = std::ranges::find_if(unnamed(), [&](const Unnamed& kind) {
      return std::ranges::all_of(kind.keys, [&](const char* key) { return report.contains(key); });
    });
    if (found == unnamed().end()) fail("{}: field \"schema\": missing: not a report of this program", what);
    report["schema"] = std::string(prefix) + found->name;
    report["version"] = 1;
  } else if (report["schema"] == "whittle-frontier") {  // whose version was the program's
    report["schema"] = "whittle.frontier";
    report["version"] = report.value("schema_version", json(nullptr));
    report.erase("schema_version");
  }
  report.emplace("fingerprint", nullptr);
}

}  // namespace

ReportFile read_report(const std::string& path) {
  const std::string what = path == "-" ? "standard input" : path;
  ReportFile file{.path = path, .json = parsed(path, what)};
  complete_header(file.json, what);
  const JsonFields fields(file.json, what);
  file.schema = fields.string("schema");
  const bool ours = file.schema.starts_with(prefix);
  const json schema = ours ? report_schema(std::string_view(file.schema).substr(prefix.size())) : json();
  if (schema.is_null() || !schema.contains("properties"))
    fields.reject("schema", "not one of this program's: " + quote(file.schema));
  const int64_t newest = schema["properties"]["version"]["maximum"].get<int64_t>();
  const int64_t version = fields.integer("version", 1, std::numeric_limits<int32_t>::max());
  if (version > newest)
    fields.reject("version",
                  fmt::format("{}, and this program knows up to {}: a newer one wrote it", version, newest));
  file.version = static_cast<int>(version);
  if (const auto place = huge_number(file.json))
    fail("{}: {}: {} is too large", what, shown(place->to_string()), file.json[*place].dump());
  if (const auto violation = schema_violation(file.json, schema))
    fail("{}: {}{}{}", what, shown(violation->place), violation->place.empty() ? "" : ": ",
         shown(violation->what));
  return file;
}

}  // namespace whittle
