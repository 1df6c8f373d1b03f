#pragma once
// Reports side by side as a table, as Markdown and as JSON.

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/reports/compare/comparison.h"

namespace whittle {

struct ComparedReports {
  std::span<const ReportFile> files;  // of the letters A, B, …
  std::span<const ReportGroup> groups;
};

// Keys: see bench/reports/schemas/compare.json.
nlohmann::json compared_json(const ComparedReports& compared);
std::string compared_text(const ComparedReports& compared);
std::string compared_markdown(const ComparedReports& compared);

// A figure as tables show it: "14.7 MB", "19.117"; "–" where there is none.
std::string figure_text(double value, std::string_view unit);
// A change of it: "+8.3 %", "×24.8", "−0.41 points".
std::string change_text(const ReportRow& row, const Judgement& judgement);
// The same with the finding's words: "+8.3 % better".
std::string judgement_text(const ReportRow& row, const Judgement& judgement);
// What differs between a group's reports, the gravest first: a sentence a kind of condition.
std::vector<std::string> difference_notes(const ReportGroup& group);
// What the words of the findings in a group mean, each once.
std::vector<std::string> finding_notes(const ReportGroup& group);

}  // namespace whittle
