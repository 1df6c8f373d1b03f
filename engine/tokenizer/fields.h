#pragma once
// What the components of tokenizer.json have in common: an object with a `type`, lists of them, and patterns.

#include <functional>
#include <initializer_list>
#include <string_view>

#include "engine/files/json_file.h"
#include "engine/tokenizer/regex.h"

namespace whittle {

// Throws Error for a field that is not listed and not null: silence would be an approximation.
void allow_fields(const JsonFields& fields, std::initializer_list<std::string_view> names);

// Throws Error unless the field is an array. `visit` gets each element as an object.
void for_each_object(const JsonFields& fields, const char* field,
                     const std::function<void(const JsonFields&)>& visit);

// {"String": literal} or {"Regex": expression}.
Regex parse_pattern(const JsonFields& fields, const char* field);

// Exactly one character, as UTF-8.
std::string parse_character(const JsonFields& fields, const char* field, std::string_view fallback = {});

// The Error for a `type` that has no row in a table of components.
[[noreturn]] void reject_type(const JsonFields& fields, const std::string& type);

}  // namespace whittle
