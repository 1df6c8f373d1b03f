#pragma once
// A picture of numbers as inline SVG. Shapes and dashes tell series apart, so that nothing needs colour.

#include <limits>
#include <string>
#include <vector>

#include "bench/reports/pages/plot_scale.h"

namespace whittle {

enum class Marker : uint8_t { none, circle, square, triangle, diamond, cross };
enum class Stroke : uint8_t { none, solid, dashed, dotted, dash_dot };

inline constexpr double no_value = std::numeric_limits<double>::quiet_NaN();

struct PlotPoint {
  double x = 0, y = 0;
  double low = no_value, high = no_value;  // an interval of y; of x where y is a category
  double until = no_value;                 // of a histogram: the bar reaches from x to here
  std::string label = {};                  // what it is, read out and in the table
  std::string mark = {};                   // a few letters beside it
  bool filled = true;
  bool decides_y = true;  // whether the upright axis reaches as far
};

struct PlotSeries {
  std::string name;  // "": a line for the eye, which no legend and no table has
  Marker marker = Marker::circle;
  Stroke stroke = Stroke::none;
  std::vector<PlotPoint> points;
  std::string tag = {};  // a few letters beside its last point, and in the legend
};

// Across the whole picture.
struct PlotLine {
  double at = 0;
  bool upright = true;  // at an x
  std::string label;
};

struct Plot {
  std::string title, description;
  PlotAxis x, y;
  std::vector<PlotSeries> series;
  std::vector<PlotLine> lines = {};
  std::vector<std::string> notes = {};  // stand below it
};

// Styles for series one after the other: the i-th of points, and of lines that join points.
Marker marker_of(size_t i);
Stroke stroke_of(size_t i);

// `id` is that of the element. More series or points than an eye tells apart are left out of the picture
// (never of the table), which the notes say: left_out_notes().
std::string plot_svg(const Plot& plot, const std::string& id);
std::vector<std::string> left_out_notes(const Plot& plot);

}  // namespace whittle
