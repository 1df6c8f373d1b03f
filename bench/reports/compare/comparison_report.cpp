#include "bench/reports/compare/comparison_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <sstream>

#include "bench/reports/figures.h"
#include "bench/reports/json_report.h"
#include "bench/reports/markup.h"
#include "bench/reports/table.h"
#include "engine/files/json_file.h"

namespace whittle {
namespace {

std::string figure_name(const ReportRow& row) {
  const bool told = row.unit.empty() || row.unit == "bytes" || row.unit == "×";
  return told ? row.label : fmt::format("{}, {}", row.label, row.unit);
}

struct DifferenceText {
  ConditionKind kind;
  const char* begin;
};
constexpr DifferenceText difference_texts[] = {
    {ConditionKind::machine,
     "NOT THE SAME MACHINE OR THREADS, so speeds compare these rather than programs or models"},
    {ConditionKind::work, "NOT THE SAME WORK, so figures may differ for that alone"},
    {ConditionKind::subject, "what is compared"},
};

// Long hashes and lists are cut.
std::string cut_value(const std::string& value) {
  constexpr int64_t longest = 40;
  if (value.empty()) return "not said";
  const std::string shown = printable(value);
  return display_width(shown) > longest ? cut(shown, longest - 1) + "…" : shown;
}

// Rows of items that two reports have, and a sentence on those that only one has.
struct SharedRows {
  std::vector<const ReportRow*> rows;
  std::vector<std::string> notes;
};
SharedRows shared_rows(const ReportGroup& group) {
  std::map<std::string, std::set<size_t>> reports_of;
  for (const ReportRow& row : group.rows)
    for (size_t r = 0; r < row.values.size(); ++r)
      if (!std::isnan(row.values[r])) reports_of[row.item].insert(r);
  SharedRows shared;
  std::map<size_t, std::vector<std::string>> alone;
  for (const ReportRow& row : group.rows) {
    const std::set<size_t>& reports = reports_of.at(row.item);
    if (reports.size() > 1)
      shared.rows.push_back(&row);
    else if (auto& items = alone[*reports.begin()]; items.empty() || items.back() != row.item)
      items.push_back(row.item);
  }
  constexpr size_t most = 10;
  for (auto& [report, items] : alone) {
    const size_t more = items.size() > most ? items.size() - most : 0;
    items.resize(items.size() - more);
    shared.notes.push_back(fmt::format("only in {}: {}{}", group.letters[report], fmt::join(items, "; "),
                                       more ? fmt::format("; and {} more", more) : ""));
  }
  return shared;
}

// The first report with the others from `begin` to `end`.
Table block_of(const ReportGroup& group, const SharedRows& shared, size_t begin, size_t end) {
  std::vector<Column> columns = {{group.kind->title, Align::left}, {group.letters[0]}};
  for (size_t r = begin; r < end; ++r) {
    columns.push_back({group.letters[r]});
    columns.push_back({fmt::format("{} to {}", group.letters[0], group.letters[r]), Align::left});
  }
  Table table(std::move(columns));
  std::string item;
  const size_t cells = 2 + 2 * (end - begin);
  for (const ReportRow* shown : shared.rows) {
    const ReportRow& row = *shown;
    if (row.item != item) {
      std::vector<std::string> heading(cells);
      heading[0] = item = row.item;
      table.add_row(heading);  // empty above what is of no item
    }
    std::vector<std::string> line = {(item.empty() ? "" : "  ") + figure_name(row),
                                     figure_text(row.values[0], row.unit)};
    for (size_t r = begin; r < end; ++r) {
      line.push_back(figure_text(row.values[r], row.unit));
      line.push_back(judgement_text(row, row.from_first[r - 1]));
    }
    table.add_row(std::move(line));
  }
  return table;
}

// As many of the others beside the first as fit without names of figures folded much, one at least.
std::string blocks_text(const ReportGroup& group, const SharedRows& shared) {
  constexpr int64_t folded = 12;
  std::string text;
  for (size_t begin = 1, end = 0; begin < group.letters.size(); begin = end) {
    for (end = group.letters.size(); end > begin + 1; --end) {
      std::istringstream lines(block_of(group, shared, begin, end).text(INT64_MAX / 2));
      int64_t widest = 0;
      for (std::string line; std::getline(lines, line);) widest = std::max(widest, display_width(line));
      if (widest <= report_width + folded) break;
    }
    text += '\n' + block_of(group, shared, begin, end).text();
  }
  return text;
}

std::vector<std::string> closing_notes(const ReportGroup& group, const SharedRows& shared) {
  std::vector<std::string> notes = shared.notes;
  for (const std::string& note : finding_notes(group)) notes.push_back(note);
  if (group.left_out) notes.push_back(fmt::format("{} more figures are left out", group.left_out));
  return notes;
}

nlohmann::json judgement_json(const ReportRow& row, const Judgement& judgement) {
  const bool ratio = row.change == ChangeAs::ratio;
  return {{"ratio", ratio ? or_null(judgement.change) : nullptr},
          {"difference", ratio ? nullptr : or_null(judgement.change)},
          {"ci95", bounds_json(judgement.interval)},
          {"finding", name(judgement.finding)},
          {"basis", judgement.basis.empty() ? nlohmann::json() : nlohmann::json(judgement.basis)}};
}

nlohmann::json row_json(const ReportRow& row) {
  constexpr const char* directions[] = {"less", "more", "neither"};
  nlohmann::json values = nlohmann::json::array(), from_first = nlohmann::json::array();
  for (const double value : row.values) values.push_back(or_null(value));
  for (const Judgement& judgement : row.from_first) from_first.push_back(judgement_json(row, judgement));
  return {{"item", row.item}, {"figure", row.label},
          {"unit", row.unit}, {"better", directions[static_cast<size_t>(row.better)]},
          {"values", values}, {"from_first", from_first}};
}

nlohmann::json group_json(const ReportGroup& group) {
  nlohmann::json differing = nlohmann::json::array(), rows = nlohmann::json::array();
  for (const Condition& condition : group.conditions)
    if (condition.differs())
      differing.push_back(
          {{"name", condition.name}, {"kind", name(condition.kind)}, {"values", condition.values}});
  for (const ReportRow& row : group.rows) rows.push_back(row_json(row));
  return {{"kind", group.kind->schema},
          {"files", group.letters},
          {"differing", differing},
          {"rows", rows},
          {"left_out", group.left_out}};
}

}  // namespace

std::string figure_text(double value, std::string_view unit) {
  if (!std::isfinite(value)) return "–";
  if (unit == "bytes") return format_bytes(value);
  if (unit == "×") return format_number(value) + "×";
  if (value == std::round(value) && std::abs(value) < 1e15) return fmt::format("{:.0f}", value + 0.0);
  return std::abs(value) >= 1e5 ? fmt::format("{:.0f}", value) : fmt::format("{:.5g}", value);
}

std::string change_text(const ReportRow& row, const Judgement& judgement) {
  const double change = judgement.change;
  if (std::isnan(change)) return "";
  if (row.change == ChangeAs::ratio) {
    if (change >= 2 || (change > 0 && change <= 0.5)) return "×" + format_number(change);
    return fmt::format("{}{} %", change < 1 ? "−" : "+", format_number(100 * std::abs(change - 1)));
  }
  const std::string size = row.unit == "bytes" ? format_bytes(std::abs(change))
                           : row.unit == "%"   ? format_number(std::abs(change)) + " points"
                                               : format_number(std::abs(change));
  return (change < 0 ? "−" : "+") + size;
}

std::string judgement_text(const ReportRow& row, const Judgement& judgement) {
  const std::string change = change_text(row, judgement);
  if (judgement.finding == Finding::same || change.empty()) return std::string(words(judgement.finding));
  return fmt::format("{} {}", change, words(judgement.finding));
}

std::vector<std::string> difference_notes(const ReportGroup& group) {
  std::vector<std::string> notes;
  for (const DifferenceText& text : difference_texts) {
    std::vector<std::string> parts;
    for (const Condition& condition : group.conditions) {
      if (condition.kind != text.kind || !condition.differs()) continue;
      std::string part = printable(condition.name);
      for (size_t i = 0; i < condition.values.size(); ++i)
        part += fmt::format("{} {}: {}", i ? "," : "", group.letters[i], cut_value(condition.values[i]));
      parts.push_back(part);
    }
    if (!parts.empty()) notes.push_back(fmt::format("{}: {}", text.begin, fmt::join(parts, "; ")));
  }
  return notes;
}

std::vector<std::string> finding_notes(const ReportGroup& group) {
  std::set<std::string> notes;
  for (const ReportRow& row : group.rows)
    for (const Judgement& judgement : row.from_first)
      if (judgement.finding != Finding::unknown && judgement.finding != Finding::same)
        notes.insert(fmt::format("{}: {}", words(judgement.finding), reason(judgement.finding)));
  return {notes.begin(), notes.end()};
}

nlohmann::json compared_json(const ComparedReports& compared) {
  nlohmann::json json = report_header("compare", {});
  json["files"] = json["groups"] = nlohmann::json::array();
  for (size_t i = 0; i < compared.files.size(); ++i)
    json["files"].push_back({{"letter", report_letter(i)},
                             {"path", compared.files[i].path},
                             {"schema", compared.files[i].schema},
                             {"version", compared.files[i].version}});
  for (const ReportGroup& group : compared.groups) json["groups"].push_back(group_json(group));
  return json;
}

std::string compared_text(const ComparedReports& compared) {
  std::string text;
  const auto add = [&](const std::string& line) {
    text += fmt::format("{}\n", fmt::join(wrap(line, report_width), "\n"));
  };
  for (size_t i = 0; i < compared.files.size(); ++i) {
    const ReportKind* kind = report_kind(compared.files[i].schema);
    const bool shown =
        std::ranges::any_of(compared.groups, [&](const ReportGroup& group) { return group.kind == kind; });
    add(fmt::format("{}: {} ({}{})", report_letter(i), printable(compared.files[i].path),
                    kind ? kind->title : "", shown ? "" : "; nothing to compare it with"));
  }
  for (const ReportGroup& group : compared.groups) {
    const SharedRows shared = shared_rows(group);
    const std::vector<std::string> differences = difference_notes(group);
    if (!differences.empty()) text += '\n';
    for (const std::string& note : differences) add(note);
    text += blocks_text(group, shared);
    for (const std::string& note : closing_notes(group, shared)) add(note);
  }
  return text;
}

std::string compared_markdown(const ComparedReports& compared) {
  std::string text;
  for (size_t i = 0; i < compared.files.size(); ++i)
    text += fmt::format("- {}: {}\n", report_letter(i), markdown(compared.files[i].path));
  for (const ReportGroup& group : compared.groups) {
    text += fmt::format("\n### {}\n\n", group.kind->title);
    for (const std::string& note : difference_notes(group)) text += fmt::format("**{}**\n\n", markdown(note));
    text += fmt::format("| | figure | {} |", group.letters[0]);
    std::string rule = "|---|---|---:|";
    for (size_t r = 1; r < group.letters.size(); ++r) {
      text += fmt::format(" {1} | {0} to {1} |", group.letters[0], group.letters[r]);
      rule += "---:|---|";
    }
    text += '\n' + rule + '\n';
    const SharedRows shared = shared_rows(group);
    for (const ReportRow* shown : shared.rows) {
      const ReportRow& row = *shown;
      text += fmt::format("| {} | {} | {} |", markdown(row.item), markdown(figure_name(row)),
                          figure_text(row.values[0], row.unit));
      for (size_t r = 1; r < row.values.size(); ++r)
        text += fmt::format(" {} | {} |", figure_text(row.values[r], row.unit),
                            judgement_text(row, row.from_first[r - 1]));
      text += '\n';
    }
    text += '\n';
    for (const std::string& note : closing_notes(group, shared))
      text += fmt::format("- {}\n", markdown(note));
  }
  return text;
}

}  // namespace whittle
