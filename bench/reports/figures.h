#pragma once
// Figures that may not exist or not be finite: as text and as JSON.

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "bench/statistics.h"

namespace whittle {

// "19.11731" with 5 digits; "–" where there is no number (NaN), "∞" and "−∞" beyond all numbers.
std::string format_fixed(double value, int digits);
std::string format_signed(double value, int digits);  // the same with its sign: "+0.65"
std::string format_general(double value);             // the same with six significant digits: "0.000712"
// "0.1 to 0.2" and the unit; "unknown" where one window alone says nothing.
std::string format_interval(const Interval& interval, std::string_view unit);

// JSON has no NaN and no infinity: null.
nlohmann::json or_null(double value);
template <typename T>
nlohmann::json or_null(const std::optional<T>& value) {
  if (!value) return nullptr;
  if constexpr (std::is_floating_point_v<T>)
    return or_null(double{*value});
  else
    return *value;
}
nlohmann::json bounds_json(const Interval& interval);  // both ends, [low, high]
// "median", "min", "max", "mad".
nlohmann::json spread_json(const Spread& spread);

}  // namespace whittle
