#pragma once
// Reports of one kind side by side: their figures, matched by what tells a report's items apart, and how each
// compares with the first.

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/reports/compare/catalogue.h"
#include "bench/reports/compare/conditions.h"
#include "bench/reports/compare/judgement.h"
#include "bench/reports/report_file.h"

namespace whittle {

struct ReportRow {
  std::string item;  // "model-int8, 2 threads"; "" where a report has one only
  std::string label, unit;
  Better better = Better::neither;
  ChangeAs change = ChangeAs::ratio;
  std::vector<double> values;         // one a report; NaN: it does not say
  std::vector<Judgement> from_first;  // one a report after the first: compared with it
};

// Of one or several reports: what has the same name in each.
struct ReportItem {
  std::string name;                       // "" where a report has one only
  std::vector<const nlohmann::json*> in;  // one a report; nullptr: it has none
};

struct ReportItems {
  const ItemSpec* spec = nullptr;
  std::vector<bool> telling;  // by key: whether it tells two items of a report apart
  std::vector<ReportItem> items;
};

struct ReportGroup {
  const ReportKind* kind = nullptr;
  std::vector<const ReportFile*> reports;
  std::vector<std::string> letters;   // of the reports: "A"
  std::vector<Condition> conditions;  // all, those of items too where each report has one value
  std::vector<ReportItems> items;     // by the kind's specs
  std::vector<ReportRow> rows;        // item by item
  int64_t left_out = 0;               // rows beyond what one can look at

  bool in_common() const;  // any figure that two reports have
  // Of the spec of that name.
  const ReportItems& all(std::string_view name) const;
};

// What tells an item from others of its report, in words: the keys for which `named` holds.
std::string item_name(const ItemSpec& spec, const nlohmann::json& item, const std::vector<bool>& named);

// "A" to "Z", then "A2" and so on.
std::string report_letter(size_t i);

// A report's items and their figures; keys that are alike within every report do not tell items apart: where
// they differ between reports they are conditions.
ReportGroup group_of(const ReportKind& kind, std::vector<const ReportFile*> reports,
                     std::vector<std::string> letters);

// By kind, in the order in which kinds first appear.
std::vector<ReportGroup> group_reports(std::span<const ReportFile> reports);

// The same, of those kinds of which there are two reports or more. Throws Error where there is none, or where
// they have no figure in common.
std::vector<ReportGroup> compare_reports(std::span<const ReportFile> reports);

}  // namespace whittle
