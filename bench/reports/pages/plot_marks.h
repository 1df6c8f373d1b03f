#pragma once
// The small parts of a picture: shapes, intervals, and places for letters.

#include <span>
#include <string>

#include "bench/reports/pages/plot.h"

namespace whittle {

inline constexpr double marker_radius = 4.5;

std::string marker_svg(Marker marker, double x, double y);
// From `low` to `high` along one direction, with a short stroke at each end.
std::string interval_svg(double low, double high, double across, bool along_x);
std::string stroke_class(Stroke stroke);  // of the style sheet

struct LabelBox {
  double x, y, width, height;
};
// A place beside the point (x, y of `size`) for a label of that size, within `room` and over none of `taken`,
// or to its right where there is none.
LabelBox free_place(const LabelBox& size, const LabelBox& room, std::span<const LabelBox> taken);

}  // namespace whittle
