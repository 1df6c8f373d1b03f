#include "bench/reports/pages/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bench/reports/markup.h"
#include "bench/reports/pages/plot_marks.h"
#include "bench/reports/table.h"
#include "engine/files/json_file.h"

namespace whittle {
namespace {

// In the units of viewBox, which are pixels on a telephone: letters stay readable there.
constexpr double width = 400, top = 14, right = 16, bottom = 46, body = 250, row = 36, legend_row = 16,
                 letter = 6.2;

constexpr size_t most_series = 12, most_points = 400;
constexpr int64_t longest_tick = 22, longest_name = 56;

double text_width(const std::string& text) { return letter * static_cast<double>(display_width(text)); }

// On one line, without what would move the writing, and no longer than there is room for.
std::string fitting(const std::string& text, int64_t most) {
  const std::string shown = printable(text);
  return display_width(shown) > most ? cut(shown, most - 1) + "…" : shown;
}

// Of a long series: extremes stay, as each stretch keeps its lowest and its highest point.
std::vector<PlotPoint> thinned(const std::vector<PlotPoint>& points) {
  if (points.size() <= most_points) return points;
  std::vector<PlotPoint> kept;
  const size_t stretches = most_points / 2;
  for (size_t i = 0; i < stretches; ++i) {
    const auto begin = points.begin() + static_cast<std::ptrdiff_t>(points.size() * i / stretches),
               end = points.begin() + static_cast<std::ptrdiff_t>(points.size() * (i + 1) / stretches);
    const auto [low, high] =
        std::minmax_element(begin, end, [](const PlotPoint& a, const PlotPoint& b) { return a.y < b.y; });
    kept.push_back(*std::min(low, high));
    if (low != high) kept.push_back(*std::max(low, high));
  }
  return kept;
}

std::vector<PlotSeries> shown_series(const Plot& plot) {
  std::vector<PlotSeries> shown(
      plot.series.begin(),
      plot.series.begin() + static_cast<std::ptrdiff_t>(std::min(plot.series.size(), most_series)));
  for (PlotSeries& series : shown) series.points = thinned(series.points);
  return shown;
}

// One number of all points, those of intervals too, and of the lines across.
std::vector<double> values_along(const Plot& plot, bool x) {
  const bool intervals_along_x = !plot.y.categories.empty();
  std::vector<double> values;
  for (const PlotSeries& series : plot.series)
    for (const PlotPoint& point : series.points) {
      if (!x && !point.decides_y) continue;
      values.push_back(x ? point.x : point.y);
      if (x) values.push_back(point.until);
      if (x == intervals_along_x) values.insert(values.end(), {point.low, point.high});
    }
  for (const PlotLine& line : plot.lines)
    if (line.upright == x) values.push_back(line.at);
  return values;
}

class Drawing {
 public:
  explicit Drawing(const Plot& plot)
      : plot_(plot),
        series_(shown_series(plot)),
        height_(plot.y.categories.empty() ? body : row * static_cast<double>(plot.y.categories.size())),
        y_(plot.y, values_along(plot, false), plot.y.categories.empty() ? top + height_ : top,
           plot.y.categories.empty() ? top : top + height_),
        left_(left_margin()),
        x_(plot.x, values_along(plot, true), left_, width - right) {}

  std::string svg(const std::string& id) {
    const double legend = legend_height();
    std::string svg = fmt::format(
        "<svg viewBox=\"0 0 {0:g} {1:g}\" role=\"img\" aria-labelledby=\"{2}-title {2}-desc\">\n"
        "<title id=\"{2}-title\">{3}</title>\n<desc id=\"{2}-desc\">{4}</desc>\n",
        width, top + height_ + bottom + legend, html(id), html(plot_.title), html(plot_.description));
    svg += axes_svg();
    std::string marks;
    for (size_t s = 0; s < series_.size(); ++s) {
      svg += joined_svg(s);
      marks += points_svg(s);
    }
    svg += marks + lines_svg() + labels_svg() + legend_svg();
    return svg + "</svg>\n";
  }

 private:
  bool rows() const { return !plot_.y.categories.empty(); }

  double left_margin() const {
    if (rows()) return 12;  // names of rows stand above them
    double widest = 0;
    for (const PlotTick& tick : y_.ticks())
      widest = std::max(widest, text_width(fitting(tick.text, longest_tick)));
    return std::max(34.0, widest + 28);
  }

  bool shows(const PlotPoint& point) const { return x_.shows(point.x) && y_.shows(point.y); }
  double x_of(const PlotPoint& point) const { return x_.at(point.x); }
  // Series in one row stand beside each other.
  double y_of(const PlotPoint& point, size_t s) const {
    const double room = rows() ? std::min(7.0, 15 / static_cast<double>(series_.size())) : 0;
    return y_.at(point.y) + (rows() ? row / 4 : 0) +
           room * (static_cast<double>(s) - static_cast<double>(series_.size() - 1) / 2);
  }

  std::string axes_svg() const {
    std::string svg = fmt::format("<path class=\"axis\" d=\"M{:.1f} {:.1f}V{:.1f}H{:.1f}\"/>\n", left_, top,
                                  top + height_, width - right);
    double free_from = 0;
    for (const PlotTick& tick : x_.ticks()) {
      const double at = x_.at(tick.value), half = text_width(tick.text) / 2,
                   middle = std::clamp(at, half, width - half);
      svg += fmt::format("<path class=\"grid\" d=\"M{:.1f} {:.1f}V{:.1f}\"/>", at, top, top + height_);
      if (middle - half < free_from) continue;  // its neighbour says enough
      free_from = middle + half + letter;
      svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n", middle,
                         top + height_ + 15, html(fitting(tick.text, longest_tick)));
    }
    for (const PlotTick& tick : y_.ticks()) {
      const double at = y_.at(tick.value) + (rows() ? row / 4 : 0);
      svg += fmt::format("<path class=\"grid\" d=\"M{:.1f} {:.1f}H{:.1f}\"/>", left_, at, width - right);
      svg += rows() ? fmt::format("<text class=\"halo\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n", left_ + 3,
                                  at - row / 4 - 3, html(fitting(tick.text, longest_name)))
                    : fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n",
                                  left_ - 5, at + 4, html(fitting(tick.text, longest_tick)));
    }
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n",
                       (left_ + width - right) / 2, top + height_ + 36, html(plot_.x.title));
    if (!rows())
      svg += fmt::format(
          "<text transform=\"translate(11 {:.1f}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
          top + height_ / 2, html(plot_.y.title));
    return svg;
  }

  // The line through a series' points, or the outline of its bars.
  std::string joined_svg(size_t s) const {
    const PlotSeries& series = series_[s];
    if (series.stroke == Stroke::none) return "";
    std::string d;
    bool drawing = false;
    for (const PlotPoint& point : series.points) {
      if (!shows(point)) {
        drawing = false;
        continue;
      }
      const double x = x_of(point), y = y_of(point, s);
      const bool bar = x_.shows(point.until);
      if (bar && !drawing) d += fmt::format("M{:.1f} {:.1f}", x, y_.at(0));
      if (bar)
        d += fmt::format("V{:.1f}H{:.1f}", y, x_.at(point.until));
      else
        d += fmt::format("{}{:.1f} {:.1f}", drawing ? 'L' : 'M', x, y);
      if (bar && &point == &series.points.back()) d += fmt::format("V{:.1f}", y_.at(0));
      drawing = true;
    }
    return d.empty() ? ""
                     : fmt::format("<path class=\"line {}\" d=\"{}\"/>\n", stroke_class(series.stroke), d);
  }

  std::string points_svg(size_t s) {
    const PlotSeries& series = series_[s];
    std::string svg;
    for (const PlotPoint& point : series.points) {
      if (!shows(point) || (series.marker == Marker::none && std::isnan(point.low))) continue;
      const double x = x_of(point), y = y_of(point, s);
      svg += fmt::format("<g class=\"{}\"><title>{}</title>", point.filled ? "full" : "open",
                         html(point.label.empty() ? series.name : point.label));
      const PlotScale& along = rows() ? x_ : y_;
      if (along.shows(point.low) && along.shows(point.high))
        svg += interval_svg(along.at(point.low), along.at(point.high), rows() ? y : x, rows());
      svg += marker_svg(series.marker, x, y) + "</g>\n";
      taken_.push_back({x - marker_radius, y - marker_radius, 2 * marker_radius, 2 * marker_radius});
    }
    return svg;
  }

  std::string lines_svg() {
    std::string svg;
    double next = rows() ? top - 4 : top + 10, free_from = 0;
    for (const PlotLine& line : plot_.lines) {
      const PlotScale& scale = line.upright ? x_ : y_;
      if (!scale.shows(line.at)) continue;
      const double at = scale.at(line.at);
      svg +=
          line.upright
              ? fmt::format("<path class=\"mark\" d=\"M{:.1f} {:.1f}V{:.1f}\"/>", at, top, top + height_)
              : fmt::format("<path class=\"mark\" d=\"M{:.1f} {:.1f}H{:.1f}\"/>", left_, at, width - right);
      const std::string label = fitting(line.label, longest_name);
      const double size = text_width(label);
      const bool before = line.upright && at + size + 4 > width - right;  // of the line, not behind it
      const double x = !line.upright ? width - right - size - 2 : before ? at - size - 3 : at + 3;
      const double y = line.upright ? next : at - 3;
      // Above rows there is one line of letters, within other pictures they go down step by step.
      if (rows() && x < free_from) continue;
      free_from = x + size;
      if (line.upright && !rows() && (next += 12) > top + height_ - 4) next = top + 10;
      taken_.push_back({x, y - 9, size, 11});
      svg += fmt::format("<text class=\"halo\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n", x, y, html(label));
    }
    return svg;
  }

  // Letters beside points and at the ends of series, where they are in nobody's way if there is such a place.
  std::string labels_svg() {
    const LabelBox room{left_, 0, width - left_, top + height_ + 2};
    std::string svg;
    const auto add = [&](const std::string& text, double x, double y) {
      const std::string shown = fitting(text, longest_tick);
      const LabelBox place = free_place({x, y, text_width(shown), 10}, room, taken_);
      taken_.push_back(place);
      svg += fmt::format("<text class=\"halo\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n", place.x,
                         place.y + place.height - 1.5, html(shown));
    };
    for (size_t s = 0; s < series_.size(); ++s) {
      const PlotPoint* last = nullptr;
      for (const PlotPoint& point : series_[s].points) {
        if (!shows(point)) continue;
        last = &point;
        if (!point.mark.empty()) add(point.mark, x_of(point), y_of(point, s));
      }
      if (last && !series_[s].tag.empty() && !rows()) add(series_[s].tag, x_of(*last), y_of(*last, s));
    }
    return svg;
  }

  std::vector<const PlotSeries*> in_legend() const {
    std::vector<const PlotSeries*> named;
    for (const PlotSeries& series : series_)
      if (!series.name.empty()) named.push_back(&series);
    return named.size() > 1 || (!named.empty() && !named[0]->tag.empty()) ? named
                                                                          : std::vector<const PlotSeries*>{};
  }
  double legend_height() const {
    const size_t lines = in_legend().size();
    return lines ? legend_row * static_cast<double>(lines) + 6 : 0;
  }
  std::string legend_svg() const {
    std::string svg;
    double y = top + height_ + bottom + 6;
    for (const PlotSeries* series : in_legend()) {
      const bool filled = series->points.empty() || series->points[0].filled;
      const bool told = series->tag.empty() || series->name.starts_with(series->tag + " ");
      const std::string name = (told ? "" : series->tag + "  ") + series->name;
      if (series->stroke != Stroke::none)
        svg += fmt::format("<path class=\"line {}\" d=\"M8 {:.1f}H44\"/>", stroke_class(series->stroke), y);
      svg += fmt::format("<g class=\"{}\">{}</g><text x=\"52\" y=\"{:.1f}\">{}</text>\n",
                         filled ? "full" : "open", marker_svg(series->marker, 26, y), y + 4,
                         html(fitting(name, longest_name)));
      y += legend_row;
    }
    return svg;
  }

  const Plot& plot_;
  std::vector<PlotSeries> series_;
  double height_;
  PlotScale y_;
  double left_;
  PlotScale x_;
  std::vector<LabelBox> taken_;
};

}  // namespace

Marker marker_of(size_t i) {
  constexpr Marker markers[] = {Marker::circle, Marker::square, Marker::triangle, Marker::diamond,
                                Marker::cross};
  return markers[i % std::size(markers)];
}

Stroke stroke_of(size_t i) {
  constexpr Stroke strokes[] = {Stroke::solid, Stroke::dashed, Stroke::dotted, Stroke::dash_dot};
  return strokes[i % std::size(strokes)];
}

std::string plot_svg(const Plot& plot, const std::string& id) { return Drawing(plot).svg(id); }

std::vector<std::string> left_out_notes(const Plot& plot) {
  std::vector<std::string> notes;
  if (plot.series.size() > most_series)
    notes.push_back(fmt::format("The picture shows the first {} of {} series; the table has all", most_series,
                                plot.series.size()));
  if (std::ranges::any_of(plot.series, [](const PlotSeries& s) { return s.points.size() > most_points; }))
    notes.push_back(fmt::format("The picture shows the lowest and the highest point of each of {} stretches",
                                most_points / 2));
  const std::vector<double> xs = values_along(plot, true), ys = values_along(plot, false);
  const PlotScale x(plot.x, xs, 0, 1), y(plot.y, ys, 0, 1);
  int64_t hidden = 0;
  for (const PlotSeries& series : plot.series)
    hidden += std::ranges::count_if(
        series.points, [&](const PlotPoint& point) { return !x.shows(point.x) || !y.shows(point.y); });
  if (hidden)
    notes.push_back(
        fmt::format("{} points that are no number, or not above 0, are not in the picture", hidden));
  return notes;
}

}  // namespace whittle
