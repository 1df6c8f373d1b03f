#include "quant/frontier/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/files/json_file.h"

namespace whittle {
namespace {

// In the units of viewBox, which are pixels on a telephone: letters stay readable there.
constexpr double width = 400, height = 330, left = 56, right = 14, top = 12, bottom = 46, marker = 4.5;

// Where there is nothing else to go by.
constexpr int lowest_decade = -6, highest_decade = 0;

struct Box {
  double x, y, width, height;
  bool meets(const Box& other) const {
    return x < other.x + other.width && other.x < x + width && y < other.y + other.height &&
           other.y < y + height;
  }
};

// Round steps, about five.
double step_of(double span) {
  const double rough = span / 5, power = std::pow(10, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 2.5, 5.0})
    if (factor * power >= rough * (1 - 1e-9)) return factor * power;
  return 10 * power;
}

class Plot {
 public:
  explicit Plot(const std::vector<ChartPoint>& points) {
    double least = std::numeric_limits<double>::infinity(), most = -least;
    double least_kl = least, most_kl = most;
    for (const ChartPoint& point : points) {
      least = std::min(least, point.x);
      most = std::max(most, point.x);
      if (point.number == 0 || !(point.kl > 0)) continue;  // the original's is that of its cache alone
      least_kl = std::min(least_kl, point.kl);
      most_kl = std::max(most_kl, point.kl);
    }
    if (!(least <= most)) least = 0, most = 1;
    const double room = most > least ? 0.06 * (most - least) : std::max(std::abs(most), 1.0) * 0.1;
    first_ = least - room;
    last_ = most + room;
    low_ = least_kl <= most_kl ? static_cast<int>(std::floor(std::log10(least_kl))) : lowest_decade;
    high_ = least_kl <= most_kl ? static_cast<int>(std::ceil(std::log10(most_kl))) : highest_decade;
    high_ = std::max(high_, low_ + 1);
  }

  double x(double value) const { return left + (value - first_) / (last_ - first_) * (width - left - right); }
  // What lies lower than the axis stands on it.
  double y(double kl) const {
    const double decade = kl > 0 ? std::max(std::log10(kl), static_cast<double>(low_)) : low_;
    return height - bottom - (decade - low_) / (high_ - low_) * (height - top - bottom);
  }

  std::string axes_svg(const std::string& x_title) const {
    std::string svg = fmt::format("<path class=\"axis\" d=\"M{:.1f} {:.1f}V{:.1f}H{:.1f}\"/>\n", left, top,
                                  height - bottom, width - right);
    const double step = step_of(last_ - first_);
    for (double i = std::ceil(first_ / step); i * step <= last_; ++i)
      svg += fmt::format(
          "<path class=\"grid\" d=\"M{0:.1f} {1:.1f}V{2:.1f}\"/><text x=\"{0:.1f}\" y=\"{3:.1f}\" "
          "text-anchor=\"middle\">{4:.6g}</text>\n",
          x(i * step), top, height - bottom, height - bottom + 15, i * step + 0.0);
    for (int decade = low_; decade <= high_; ++decade) {
      const double at = y(std::pow(10, decade));
      svg += fmt::format(
          "<path class=\"grid\" d=\"M{0:.1f} {1:.1f}H{2:.1f}\"/><text x=\"{3:.1f}\" y=\"{4:.1f}\" "
          "text-anchor=\"end\">{5}{6:g}</text>\n",
          left, at, width - right, left - 5, at + 4, decade == low_ ? "≤ " : "", std::pow(10, decade));
    }
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n",
                       (left + width - right) / 2, height - 8, html(x_title));
    svg += fmt::format(
        "<text transform=\"translate(11 {:.1f}) rotate(-90)\" text-anchor=\"middle\">KL, nats a "
        "token</text>\n",
        (top + height - bottom) / 2);
    return svg;
  }

 private:
  double first_ = 0, last_ = 1;
  int low_ = lowest_decade, high_ = highest_decade;
};

std::string shape_svg(char shape, double x, double y) {
  const double r = marker;
  switch (shape) {
    case 's':
      return fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\"/>", x - r, y - r,
                         2 * r, 2 * r);
    case 't':
      return fmt::format("<path d=\"M{:.1f} {:.1f}l{:.1f} {:.1f}h{:.1f}z\"/>", x, y - 1.2 * r, 1.2 * r, 2 * r,
                         -2.4 * r);
    case 'd':
      return fmt::format("<path d=\"M{0:.1f} {1:.1f}l{2:.1f} {2:.1f}l-{2:.1f} {2:.1f}l-{2:.1f} -{2:.1f}z\"/>",
                         x, y - 1.3 * r, 1.3 * r);
    default: return fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{:.1f}\"/>", x, y, r);
  }
}

// What cannot be improved on lies on this line or on its good side.
std::string line_svg(const Chart& chart, const Plot& plot) {
  std::vector<ChartPoint> corners;
  for (const ChartPoint& point : chart.points)
    if (point.on_frontier) corners.push_back(point);
  std::ranges::sort(corners, {}, &ChartPoint::x);
  if (corners.size() < 2) return "";
  std::string d = fmt::format("M{:.1f} {:.1f}", plot.x(corners[0].x), plot.y(corners[0].kl));
  for (size_t i = 1; i < corners.size(); ++i) {
    const double x = plot.x(corners[i].x), y = plot.y(corners[i].kl);
    d += chart.less_is_better ? fmt::format("H{:.1f}V{:.1f}", x, y) : fmt::format("V{:.1f}H{:.1f}", y, x);
  }
  return fmt::format("<path class=\"frontier\" d=\"{}\"/>\n", d);
}

// Numbers beside their points, where they are in nobody's way if there is such a place.
std::string numbers_svg(const Chart& chart, const Plot& plot) {
  std::vector<Box> taken;
  for (const ChartPoint& point : chart.points)
    taken.push_back({plot.x(point.x) - marker, plot.y(point.kl) - marker, 2 * marker, 2 * marker});
  std::string svg;
  for (const ChartPoint& point : chart.points) {
    const std::string text = fmt::format("{}", point.number);
    const double x = plot.x(point.x), y = plot.y(point.kl), w = 6.5 * static_cast<double>(text.size()),
                 h = 10;
    const double beside = marker + 2;
    const Box places[] = {{x + beside, y - h / 2, w, h},          {x - beside - w, y - h / 2, w, h},
                          {x - w / 2, y - beside - h, w, h},      {x - w / 2, y + beside, w, h},
                          {x + beside, y - beside - h, w, h},     {x + beside, y + beside, w, h},
                          {x - beside - w, y - beside - h, w, h}, {x - beside - w, y + beside, w, h}};
    const auto free = std::ranges::find_if(places, [&](const Box& place) {
      return place.x > left && place.x + w < width && place.y > 0 && place.y + h < height - bottom + 4 &&
             std::ranges::none_of(taken, [&](const Box& other) { return place.meets(other); });
    });
    const Box& place = free == std::end(places) ? places[0] : *free;
    taken.push_back(place);
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n", place.x, place.y + h - 1.5, text);
  }
  return svg;
}

}  // namespace

std::string html(std::string_view text) {
  std::string out;
  for (const char c : printable(text)) switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      default: out += c;
    }
  return out;
}

std::string chart_svg(const Chart& chart) {
  const Plot plot(chart.points);
  std::string svg = fmt::format(
      "<svg viewBox=\"0 0 {0:g} {1:g}\" role=\"img\" aria-labelledby=\"{2}-title {2}-desc\">\n"
      "<title id=\"{2}-title\">{3}</title>\n<desc id=\"{2}-desc\">{4}</desc>\n",
      width, height, html(chart.id), html(chart.title), html(chart.description));
  svg += plot.axes_svg(chart.x_title) + line_svg(chart, plot);
  for (const ChartPoint& point : chart.points)
    svg += fmt::format("<g class=\"{}\"><title>{}</title>{}</g>\n", point.on_frontier ? "best" : "beaten",
                       html(fmt::format("{} {}", point.number, point.name)),
                       shape_svg(point.shape, plot.x(point.x), plot.y(point.kl)));
  return svg + numbers_svg(chart, plot) + "</svg>\n";
}

}  // namespace whittle
