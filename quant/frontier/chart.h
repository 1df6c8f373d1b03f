#pragma once
// A chart of recipes as inline SVG: drift upwards, what it is traded for to the right.

#include <optional>
#include <string>
#include <vector>

namespace whittle {

// Text as it may stand in HTML and in attributes; control characters and bytes that are not UTF-8 are shown
// as \xNN.
std::string html(std::string_view text);

struct ChartPoint {
  size_t number = 0;     // what stands beside it, and in the table
  std::string name;      // read out, and shown when pointed at
  double x = 0, kl = 0;  // finite
  char shape = 'o';      // o circle, s square, t triangle, d diamond
  bool on_frontier = false;
};

struct Chart {
  std::string id, title, description, x_title;
  bool less_is_better = true;  // of x: where the frontier's corner lies
  std::vector<ChartPoint> points;
};

// Shapes tell the kinds, filled ones are on the frontier, which a line joins: nothing needs colour.
std::string chart_svg(const Chart& chart);

}  // namespace whittle
