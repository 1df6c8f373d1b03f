#pragma once
// Values along an axis of a picture: where they stand, and its ticks.

#include <limits>
#include <span>
#include <string>
#include <vector>

namespace whittle {

struct PlotAxis {
  std::string title;
  bool logarithmic = false;
  bool from_zero = false;    // of a linear axis: 0 is on it
  bool holds_lower = false;  // of a logarithmic one: what is lower than all decades stands on its end
  bool whole = false;        // of a linear one: ticks at whole numbers alone
  std::vector<std::string> categories = {};  // if any: values are their indices
  // The axis reaches no further than this, whatever the values: what lies beyond stands on its end.
  double least = -std::numeric_limits<double>::infinity(), most = std::numeric_limits<double>::infinity();
};

struct PlotTick {
  double value;
  std::string text;
};

// Ticks are at round numbers, the first at or below all values and the last at or above.
class PlotScale {
 public:
  // `values` decide the range; those that the axis cannot show count for nothing. `from` and `to`: where the
  // axis begins and ends.
  PlotScale(const PlotAxis& axis, std::span<const double> values, double from, double to);

  bool shows(double value) const;  // finite, and of a logarithmic axis above 0 or held
  double at(double value) const;   // of a value that it shows; what lies beyond an end stands on it
  const std::vector<PlotTick>& ticks() const { return ticks_; }

 private:
  void set_linear(double least, double most, bool whole);
  void set_logarithmic(double least, double most);
  double along(double value) const;  // in the axis's own measure

  bool logarithmic_, holds_lower_, categories_;
  double from_, to_, first_ = 0, last_ = 1;
  std::vector<PlotTick> ticks_;
};

}  // namespace whittle
