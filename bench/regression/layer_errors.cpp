#include "bench/regression/layer_errors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

#include "bench/reports/table.h"

namespace whittle {

LayerErrors layer_errors(const LayerDriftReport& report) {
  LayerErrors errors;
  const auto add = [&](const std::string& name, const RelativeError& error) {
    const double percent = 100 * error.value();
    if (std::isfinite(percent)) errors.emplace_back(name, percent);
  };
  for (size_t i = 0; i < report.layers.size(); ++i) {
    add(fmt::format("layer {}", i), report.layers[i].alone);
    for (const LinearDrift& linear : report.layers[i].linears)
      add(fmt::format("layer {} {}", i, info(linear.role).name), linear.output);
  }
  add("head", report.head.output);
  return errors;
}

std::vector<std::string> suspects(const LayerErrors& before, const LayerErrors& now, size_t most) {
  const std::map<std::string, double> known(before.begin(), before.end());
  struct Grown {
    double factor;
    std::string text;
  };
  std::vector<Grown> grown;
  for (const auto& [name, percent] : now) {
    const auto found = known.find(name);
    if (found == known.end()) continue;
    constexpr double smallest = 1.05, floor = 1e-6;  // of a change worth naming; percent that are nothing
    const double factor = (percent + floor) / (found->second + floor);
    if (factor >= smallest)
      grown.push_back({factor, fmt::format("{}: error {} % → {} %", name, format_number(found->second),
                                           format_number(percent))});
  }
  std::ranges::stable_sort(grown, std::greater(), &Grown::factor);
  std::vector<std::string> texts;
  for (size_t i = 0; i < std::min(most, grown.size()); ++i) texts.push_back(grown[i].text);
  return texts;
}

}  // namespace whittle
