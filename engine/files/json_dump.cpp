#include "engine/files/json_dump.h"

#include <fmt/format.h>

#include "engine/files/json_file.h"

namespace whittle {

std::string dump_json(const nlohmann::json& value, int indent) {
  return value.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string dump_json(const nlohmann::ordered_json& value, int indent) {
  return value.dump(indent, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

std::string first_difference(const nlohmann::json& before, const nlohmann::json& now) {
  if (!before.is_object() || !now.is_object()) return "not an object";
  for (const auto& [field, value] : now.items())
    if (!before.contains(field) || before[field] != value) {
      if (value.is_object() && before.contains(field) && before[field].is_object())
        return field + ": " + first_difference(before[field], value);
      return fmt::format("{} was {}, now {}", quote(field),
                         before.contains(field) ? quote(dump_json(before[field])) : "absent",
                         quote(dump_json(value)));
    }
  return "it had more fields";
}

}  // namespace whittle
