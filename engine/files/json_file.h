#pragma once
// JSON from strangers: bounded in size and depth, no duplicate keys, and fields read with their types.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace whittle {

// `what` names the text in errors: a file, or a part of one. Throws Error for anything but one JSON value in
// valid UTF-8 without duplicate keys, at most 64 levels deep.
nlohmann::json parse_json(std::string_view text, const std::string& what);

// Throws Error also when the file is larger than `max_bytes`.
nlohmann::json read_json_file(const std::filesystem::path& path, int64_t max_bytes);

// Text from a stranger as a terminal may see it: what would move the cursor, turn the writing round or break
// the line comes out as \xNN, byte by byte, and so does what is no UTF-8.
std::string printable(std::string_view text);
// The same in double quotes, at most 120 bytes of the text: how messages show what stands in a file.
std::string quote(std::string_view text);
// A value as messages show it: "an object", "an array", or itself.
std::string json_text(const nlohmann::json& value);

// Fields by the names that messages show instead of their own.
using FieldNames = std::map<std::string, std::string, std::less<>>;

// Typed access to the fields of one object. Every error names `what` and the field. An absent field and null
// read alike: as `fallback`, or an error where there is none.
class JsonFields {
 public:
  // Throws Error unless `object` is one. It must outlive this.
  JsonFields(const nlohmann::json& object, std::string what, FieldNames shown = {});

  const std::string& what() const { return what_; }
  const nlohmann::json& object() const { return *object_; }
  bool has(const char* field) const;                  // present and not null
  const nlohmann::json& at(const char* field) const;  // throws Error when absent or null

  int64_t integer(const char* field, int64_t min, int64_t max, std::optional<int64_t> fallback = {}) const;
  // A finite number above 0.
  double positive(const char* field, std::optional<double> fallback = {}) const;
  bool boolean(const char* field, std::optional<bool> fallback = {}) const;
  std::string string(const char* field, std::optional<std::string> fallback = {}) const;
  JsonFields object(const char* field) const;

  // Throws Error: "<what>: field \"<field>\": <message>".
  [[noreturn]] void reject(const char* field, const std::string& message) const;

 private:
  const nlohmann::json* object_;
  std::string what_;
  FieldNames shown_;
};

}  // namespace whittle
