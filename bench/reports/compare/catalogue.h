#pragma once
// Which figures of which report matter, where they stand, and which direction is better: one table a kind of
// report. `whittle compare` and `whittle report` know no more of a report's figures than this.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/statistics.h"

namespace whittle {

enum class Better : uint8_t { less, more, neither };
// How a change is told: as a part of what was, or in the figure's own unit (of percentages, and of figures
// that may be 0).
enum class ChangeAs : uint8_t { ratio, difference };
// What is known of a figure's error besides what the pointers below name.
enum class Certainty : uint8_t {
  measured,  // nothing: measured once
  exact,     // there is none: a count, a size, what the same input always gives
};

// One value a window or a question, where two reports looked at the same ones.
struct PairedSpec {
  std::vector<double> (*values)(const nlohmann::json& item);
  nlohmann::json (*of)(const nlohmann::json& item);  // equal in both reports where the values belong together
  Interval (*change)(std::span<const double> before, std::span<const double> now);  // of the figure, 95 %
};

// A figure of an item. All paths are JSON pointers within the item; empty: there is no such thing.
struct FigureSpec {
  std::string path;
  const char* label;
  const char* unit = "";  // "bytes" are shown in kB, MB, …
  Better better = Better::neither;
  ChangeAs change = ChangeAs::ratio;
  Certainty certainty = Certainty::measured;
  std::string interval = {};   // array of two: 95 %
  std::string samples = {};    // array, one value a repeat
  std::string probe = {};      // array, what the machine gave beside each repeat
  std::string spread = {};     // object with "min" and "max" of repeats: where there are no samples
  std::string range = {};      // the same as an array of two
  std::string unit_path = {};  // where the unit stands that `unit` does not tell
  PairedSpec paired = {};
};

// What tells one item from another: a value, with words around it ("{} threads").
struct KeySpec {
  const char* path;
  const char* name;
  const char* text = "{}";
};

// The items of a report: objects in an array, or one object, at each of the places.
struct ItemSpec {
  std::vector<const char*> places;
  const char* name;
  std::vector<KeySpec> keys;
  std::vector<FigureSpec> figures;
};

struct ReportKind {
  const char* schema;  // "whittle.bench"
  const char* title;
  std::vector<ItemSpec> items;
};

std::span<const ReportKind> report_kinds();
// nullptr where there is none of this schema.
const ReportKind* report_kind(std::string_view schema);

}  // namespace whittle
