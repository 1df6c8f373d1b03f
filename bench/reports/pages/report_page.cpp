#include "bench/reports/pages/report_page.h"

#include <fmt/format.h>

#include <algorithm>

#include "bench/reports/compare/comparison_report.h"
#include "bench/reports/markup.h"
#include "bench/reports/pages/html_page.h"
#include "bench/reports/pages/pictures.h"

namespace whittle {
namespace {

// Which file is which letter, and on what its figures hold.
std::string files_html(std::span<const ReportFile> files, std::span<const ReportGroup> groups) {
  HtmlTable table{"Files, and on what their figures hold", {{"", "", true}}, {}};
  std::vector<std::string> paths = {"file"}, kinds = {"kind"};
  for (size_t i = 0; i < files.size(); ++i) {
    table.columns.push_back({report_letter(i), "", true});
    paths.push_back(files[i].path);
    kinds.push_back(report_kind(files[i].schema)->title);
  }
  table.rows = {paths, kinds};
  for (const ReportGroup& group : groups)
    for (const Condition& condition : group.conditions) {
      auto row = std::ranges::find(table.rows, condition.name, [](const auto& cells) { return cells[0]; });
      if (row == table.rows.end()) {
        row = table.rows.insert(row, std::vector<std::string>(files.size() + 1, "–"));
        row->front() = condition.name;
      }
      for (size_t r = 0; r < group.reports.size(); ++r)
        if (!condition.values[r].empty())
          row->at(static_cast<size_t>(group.reports[r] - files.data()) + 1) = condition.values[r];
    }
  return "<h2>Files</h2>\n" + table_html(table);
}

HtmlTable figures_table(const ReportGroup& group) {
  HtmlTable table{fmt::format("{}: all figures", group.kind->title), {{"figure", "", true}}, {}};
  const bool named = std::ranges::any_of(group.rows, [](const ReportRow& row) { return !row.item.empty(); });
  if (named) table.columns.push_back({"of", "", true});
  table.columns.push_back({"unit", "", true});
  for (size_t r = 0; r < group.letters.size(); ++r) {
    table.columns.push_back({group.letters[r]});
    if (r > 0)
      table.columns.push_back({fmt::format("{} to {}", group.letters[0], group.letters[r]), "", true});
  }
  for (const ReportRow& row : group.rows) {
    std::vector<std::string> cells = {row.label};
    if (named) cells.push_back(row.item);
    cells.push_back(row.unit == "bytes" || row.unit == "×" ? "" : row.unit);
    for (size_t r = 0; r < row.values.size(); ++r) {
      cells.push_back(figure_text(row.values[r], row.unit));
      if (r > 0) cells.push_back(judgement_text(row, row.from_first[r - 1]));
    }
    table.rows.push_back(std::move(cells));
  }
  return table;
}

std::string list_html(const std::vector<std::string>& sentences) {
  if (sentences.empty()) return "";
  std::string out = "<ul>\n";
  for (const std::string& sentence : sentences) out += fmt::format("<li>{}.</li>\n", html(sentence));
  return out + "</ul>\n";
}

std::string group_html(const ReportGroup& group, size_t& figures) {
  std::string out = fmt::format("<h2>{}</h2>\n", html(group.kind->title));
  out += list_html(difference_notes(group));
  const Pictures pictures = pictures_of(group);
  out += list_html(pictures.notes);
  if (!pictures.plots.empty()) {
    out += "<div class=\"charts\">\n";
    for (const Plot& plot : pictures.plots) out += figure_html(plot, fmt::format("figure-{}", ++figures), 3);
    out += "</div>\n";
  }
  for (const HtmlTable& table : pictures.tables)
    out += fmt::format("<h3>{}</h3>\n", html(table.caption)) + table_html(table);
  out += "<h3>All figures</h3>\n" + table_html(figures_table(group));
  std::vector<std::string> notes = finding_notes(group);
  if (group.left_out) notes.push_back(fmt::format("{} more figures are left out", group.left_out));
  return out + list_html(notes);
}

}  // namespace

std::string report_page(std::span<const ReportFile> files, const std::string& title) {
  const std::vector<ReportGroup> groups = group_reports(files);
  std::string body = files_html(files, groups);
  size_t figures = 0;
  for (const ReportGroup& group : groups) body += group_html(group, figures);
  return html_page(title, body);
}

}  // namespace whittle
