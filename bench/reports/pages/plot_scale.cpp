#include "bench/reports/pages/plot_scale.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace whittle {
namespace {

// Beyond these, differences of values are no numbers any more.
constexpr double largest = 1e290, smallest = 1e-290;

// Round steps, about five.
double step_of(double span) {
  const double rough = span / 5, power = std::pow(10, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 2.5, 5.0})
    if (factor * power >= rough * (1 - 1e-9)) return factor * power;
  return 10 * power;
}

// As many decimals as tell one tick from the next.
std::string tick_text(double value, double step) {
  constexpr int most_decimals = 12;
  if (std::abs(value) >= 1e15 || step < 1e-9) return fmt::format("{:.6g}", value);
  int decimals = 0;
  for (double scaled = step;
       decimals < most_decimals && std::abs(scaled - std::round(scaled)) > 1e-6 * scaled; ++decimals)
    scaled *= 10;
  return fmt::format("{:.{}f}", value, decimals);
}

// 1, 2 and 5 times the powers of ten, numbered.
double round_number(int64_t i) {
  constexpr double factors[] = {1, 2, 5};
  const auto decade = static_cast<double>(i >= 0 ? i / 3 : (i - 2) / 3);
  return factors[((i % 3) + 3) % 3] * std::pow(10, decade);
}

}  // namespace

PlotScale::PlotScale(const PlotAxis& axis, std::span<const double> values, double from, double to)
    : logarithmic_(axis.logarithmic),
      holds_lower_(axis.holds_lower),
      categories_(!axis.categories.empty()),
      from_(from),
      to_(to) {
  if (categories_) {
    logarithmic_ = false;
    first_ = -0.5;
    last_ = static_cast<double>(axis.categories.size()) - 0.5;
    for (size_t i = 0; i < axis.categories.size(); ++i)
      ticks_.push_back({static_cast<double>(i), axis.categories[i]});
    return;
  }
  double least = std::numeric_limits<double>::infinity(), most = -least;
  for (double value : values) {
    if (!std::isnan(value)) value = std::clamp(value, axis.least, axis.most);
    if (!std::isfinite(value) || std::abs(value) > largest) continue;
    if (logarithmic_ && value < smallest) continue;
    least = std::min(least, value);
    most = std::max(most, value);
  }
  if (axis.from_zero && !logarithmic_) {
    least = std::min(least, 0.0);
    most = std::max(most, 0.0);
  }
  if (!(least <= most)) least = logarithmic_ ? 1 : 0, most = 1;
  logarithmic_ ? set_logarithmic(least, most) : set_linear(least, most, axis.whole);
}

void PlotScale::set_linear(double least, double most, bool whole) {
  // A span that is lost in the size of its ends is none.
  const double room = std::max(std::abs(least), std::abs(most)) * 1e-9;
  if (most - least <= room) {
    const double around = least == 0 ? 1 : std::abs(least) * 0.1;
    if (least != 0) least -= around;
    most += around;
  }
  const double step = whole ? std::max(1.0, std::round(step_of(most - least))) : step_of(most - least);
  const double begin = std::floor(least / step + 1e-9), end = std::ceil(most / step - 1e-9);
  for (double i = begin; i <= end; ++i) ticks_.push_back({i * step + 0.0, tick_text(i * step + 0.0, step)});
  first_ = ticks_.front().value;
  last_ = ticks_.back().value;
}

void PlotScale::set_logarithmic(double least, double most) {
  constexpr double close = 1e-9;
  auto begin = static_cast<int64_t>(std::floor(std::log10(least) * 3)) - 3, end = begin;
  while (round_number(begin + 1) <= least * (1 + close)) ++begin;
  for (end = begin; round_number(end) < most * (1 - close);) ++end;
  if (end == begin) --begin, ++end;
  int64_t stride = 1;
  if (end - begin > 7) {  // whole decades, and of very many only some
    begin = (begin >= 0 ? begin / 3 : (begin - 2) / 3) * 3;
    end = (end >= 0 ? (end + 2) / 3 : end / 3) * 3;
    stride = 3 * ((end - begin) / 3 / 8 + 1);
    end = begin + (end - begin + stride - 1) / stride * stride;
  }
  for (int64_t i = begin; i <= end; i += stride) {
    const double value = round_number(i);
    ticks_.push_back({value, fmt::format("{}{:g}", holds_lower_ && i == begin ? "≤ " : "", value)});
  }
  first_ = along(ticks_.front().value);
  last_ = along(ticks_.back().value);
}

bool PlotScale::shows(double value) const {
  if (!std::isfinite(value) || std::abs(value) > largest) return false;
  return !logarithmic_ || value >= smallest || holds_lower_;
}

double PlotScale::along(double value) const {
  return logarithmic_ ? std::log10(std::max(value, smallest)) : value;
}

double PlotScale::at(double value) const {
  const double part = (along(value) - first_) / (last_ - first_);
  return from_ + std::clamp(part, 0.0, 1.0) * (to_ - from_);
}

}  // namespace whittle
