#include "bench/reports/pages/plot_marks.h"

#include <fmt/format.h>

#include <algorithm>

namespace whittle {

std::string marker_svg(Marker marker, double x, double y) {
  const double r = marker_radius;
  switch (marker) {
    case Marker::none: return "";
    case Marker::square:
      return fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\"/>", x - r, y - r,
                         2 * r, 2 * r);
    case Marker::triangle:
      return fmt::format("<path d=\"M{:.1f} {:.1f}l{:.1f} {:.1f}h{:.1f}z\"/>", x, y - 1.2 * r, 1.2 * r, 2 * r,
                         -2.4 * r);
    case Marker::diamond:
      return fmt::format("<path d=\"M{0:.1f} {1:.1f}l{2:.1f} {2:.1f}l-{2:.1f} {2:.1f}l-{2:.1f} -{2:.1f}z\"/>",
                         x, y - 1.3 * r, 1.3 * r);
    case Marker::cross:
      return fmt::format("<path d=\"M{0:.1f} {1:.1f}l{2:.1f} {2:.1f}m0 -{2:.1f}l-{2:.1f} {2:.1f}\"/>", x - r,
                         y - r, 2 * r);
    case Marker::circle: break;
  }
  return fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{:.1f}\"/>", x, y, r);
}

std::string interval_svg(double low, double high, double across, bool along_x) {
  constexpr double end = 3;
  if (along_x)
    return fmt::format(
        "<path class=\"interval\" d=\"M{0:.1f} {2:.1f}H{1:.1f}M{0:.1f} {3:.1f}v{4:g}M{1:.1f} "
        "{3:.1f}v{4:g}\"/>",
        low, high, across, across - end, 2 * end);
  return fmt::format(
      "<path class=\"interval\" d=\"M{2:.1f} {0:.1f}V{1:.1f}M{3:.1f} {0:.1f}h{4:g}M{3:.1f} {1:.1f}h{4:g}\"/>",
      low, high, across, across - end, 2 * end);
}

std::string stroke_class(Stroke stroke) {
  constexpr const char* classes[] = {"none", "solid", "dashed", "dotted", "dash-dot"};
  return classes[static_cast<size_t>(stroke)];
}

LabelBox free_place(const LabelBox& size, const LabelBox& room, std::span<const LabelBox> taken) {
  const double x = size.x, y = size.y, w = size.width, h = size.height, beside = marker_radius + 2;
  const LabelBox places[] = {{x + beside, y - h / 2, w, h},          {x - beside - w, y - h / 2, w, h},
                             {x - w / 2, y - beside - h, w, h},      {x - w / 2, y + beside, w, h},
                             {x + beside, y - beside - h, w, h},     {x + beside, y + beside, w, h},
                             {x - beside - w, y - beside - h, w, h}, {x - beside - w, y + beside, w, h}};
  const auto free = std::ranges::find_if(places, [&](const LabelBox& place) {
    const bool within = place.x > room.x && place.x + w < room.x + room.width && place.y > room.y &&
                        place.y + h < room.y + room.height;
    return within && std::ranges::none_of(taken, [&](const LabelBox& other) {
             return place.x < other.x + other.width && other.x < place.x + w &&
                    place.y < other.y + other.height && other.y < place.y + h;
           });
  });
  return free == std::end(places) ? places[0] : *free;
}

}  // namespace whittle
