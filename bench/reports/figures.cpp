#include "bench/reports/figures.h"

#include <fmt/format.h>

#include <cmath>

namespace whittle {
namespace {

std::string finite_or_sign(double value, const std::string& text) {
  if (std::isnan(value)) return "–";
  if (std::isinf(value)) return value > 0 ? "∞" : "−∞";
  return text;
}

}  // namespace

std::string format_fixed(double value, int digits) {
  return finite_or_sign(value, fmt::format("{:.{}f}", value, digits));
}

std::string format_signed(double value, int digits) {
  return finite_or_sign(value, fmt::format("{:+.{}f}", value, digits));
}

std::string format_general(double value) { return finite_or_sign(value, fmt::format("{:.6g}", value)); }

std::string format_interval(const Interval& interval, std::string_view unit) {
  if (!std::isfinite(interval.low) && !std::isfinite(interval.high)) return "unknown";
  const auto end = [](double value) { return finite_or_sign(value, fmt::format("{:.5g}", value)); };
  return fmt::format("{} to {}{}", end(interval.low), end(interval.high), unit);
}

nlohmann::json or_null(double value) {
  return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(nullptr);
}

nlohmann::json bounds_json(const Interval& interval) {
  return nlohmann::json::array({or_null(interval.low), or_null(interval.high)});
}

nlohmann::json spread_json(const Spread& spread) {
  return {{"median", or_null(spread.median)},
          {"min", or_null(spread.min)},
          {"max", or_null(spread.max)},
          {"mad", or_null(spread.median_absolute_deviation)}};
}

}  // namespace whittle
