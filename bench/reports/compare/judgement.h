#pragma once
// Whether a figure of one report is better than that of another, as far as both say how sure they are.

#include <nlohmann/json.hpp>
#include <string_view>

#include "bench/reports/compare/catalogue.h"

namespace whittle {

enum class Finding : uint8_t {
  same,    // the very same number
  better,  // or worse, beyond what chance does
  worse,
  changed,  // beyond what chance does, where neither direction is better
  within,   // the interval holds both
  machine,  // the machine's own limit beside the repeats moved as far
  unsure,   // nothing is known of the figure's error, or there are too few repeats
  unknown,  // one of the two does not say
};
std::string_view name(Finding finding);    // for programs: "within_interval"
std::string_view words(Finding finding);   // for people: "within the spread"
std::string_view reason(Finding finding);  // a sentence on what the words mean

struct Judgement {
  double change;      // now / before or now − before, as the figure's ChangeAs says; NaN: not known
  Interval interval;  // of the change, 95 %; NaN: not known
  Finding finding = Finding::unknown;
  std::string_view
      basis;  // what the finding rests on: "repeats", "pairs", "intervals", "ranges", "exact"; ""
};

// Of two items of the same kind. What is taken, the first that both have: equality; that the figure has no
// error; pairs of windows or questions; repeats (the interval of Hodges and Lehmann's shift, and again
// divided by the probe beside each); the figures' own intervals; the ranges of their repeats.
Judgement judge(const FigureSpec& figure, const nlohmann::json& before, const nlohmann::json& now);

}  // namespace whittle
