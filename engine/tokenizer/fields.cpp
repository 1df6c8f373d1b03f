#include "engine/tokenizer/fields.h"

#include <algorithm>

#include "engine/tokenizer/unicode.h"
#include "kernels/error.h"

namespace whittle {

void allow_fields(const JsonFields& fields, std::initializer_list<std::string_view> names) {
  for (const auto& [name, value] : fields.object().items()) {
    if (std::find(names.begin(), names.end(), name) == names.end() && !value.is_null()) {
      fail("{}: field {} is not supported", fields.what(), quote(name));
    }
  }
}

void for_each_object(const JsonFields& fields, const char* field,
                     const std::function<void(const JsonFields&)>& visit) {
  const nlohmann::json& list = fields.at(field);
  if (!list.is_array()) fields.reject(field, "expected an array, found " + json_text(list));
  for (size_t i = 0; i < list.size(); i++) {
    visit(JsonFields(list[i], fmt::format("{}: field \"{}\"[{}]", fields.what(), field, i)));
  }
}

Regex parse_pattern(const JsonFields& fields, const char* field) {
  const JsonFields pattern = fields.object(field);
  allow_fields(pattern, {"String", "Regex"});
  const bool literal = pattern.has("String");
  if (literal == pattern.has("Regex")) fields.reject(field, "expected one of \"String\" and \"Regex\"");
  const char* kind = literal ? "String" : "Regex";
  return Regex(pattern.string(kind), literal ? Regex::Syntax::literal : Regex::Syntax::regex,
               fmt::format("{}: field \"{}\"", pattern.what(), kind));
}

std::string parse_character(const JsonFields& fields, const char* field, std::string_view fallback) {
  std::string text = fallback.empty() ? fields.string(field) : fields.string(field, std::string(fallback));
  if (text.empty() || utf8_length(text[0]) != text.size()) {
    fields.reject(field, "expected one character, found " + quote(text));
  }
  return text;
}

void reject_type(const JsonFields& fields, const std::string& type) {
  fields.reject("type", quote(type) + " is not supported");
}

}  // namespace whittle
