#include "bench/reports/report_values.h"

#include <fmt/format.h>

#include <limits>

namespace whittle {
namespace {

constexpr double unknown = std::numeric_limits<double>::quiet_NaN();

double number_of(const nlohmann::json& value) { return value.is_number() ? value.get<double>() : unknown; }

}  // namespace

const nlohmann::json& value_at(const nlohmann::json& json, const std::string& pointer) {
  static const nlohmann::json nothing;
  const nlohmann::json::json_pointer path(pointer);
  return json.contains(path) ? json.at(path) : nothing;
}

double number_at(const nlohmann::json& json, const std::string& pointer) {
  return number_of(value_at(json, pointer));
}

std::string text_at(const nlohmann::json& json, const std::string& pointer) {
  const nlohmann::json& value = value_at(json, pointer);
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_number_integer()) return value.dump();
  return value.is_number() ? fmt::format("{:.6g}", value.get<double>()) : "";
}

std::vector<double> numbers_at(const nlohmann::json& json, const std::string& pointer) {
  std::vector<double> numbers;
  const nlohmann::json& array = value_at(json, pointer);
  if (array.is_array())
    for (const nlohmann::json& value : array) numbers.push_back(number_of(value));
  return numbers;
}

Interval interval_at(const nlohmann::json& json, const std::string& pointer, double mean) {
  const std::vector<double> ends = numbers_at(json, pointer);
  return ends.size() == 2 ? Interval{mean, ends[0], ends[1]} : Interval{mean, unknown, unknown};
}

std::vector<const nlohmann::json*> items_at(const nlohmann::json& json, const std::string& pointer) {
  std::vector<const nlohmann::json*> items;
  const nlohmann::json& value = value_at(json, pointer);
  if (value.is_object()) items.push_back(&value);
  if (value.is_array())
    for (const nlohmann::json& item : value)
      if (item.is_object()) items.push_back(&item);
  return items;
}

}  // namespace whittle
