#include "engine/files/json_record.h"

#include <fmt/format.h>

#include <cmath>

namespace whittle {

std::vector<double> read_numbers(const JsonFields& fields, const char* key, size_t least, size_t most) {
  const nlohmann::json& json = fields.at(key);
  if (!json.is_array() || json.size() < least || json.size() > most)
    fields.reject(key, least == most ? fmt::format("expected an array of {} numbers", least)
                                     : fmt::format("expected an array of {} to {} numbers", least, most));
  std::vector<double> values;
  for (const nlohmann::json& value : json) {
    if (!value.is_number() || !std::isfinite(value.get<double>()) || value.get<double>() < 0)
      fields.reject(key, "expected numbers of 0 or more, found " + json_text(value));
    values.push_back(value.get<double>());
  }
  return values;
}

}  // namespace whittle
