#include <fmt/format.h>

#include <cmath>

#include "bench/reports/compare/comparison_report.h"
#include "bench/reports/figures.h"
#include "bench/reports/pages/pictures.h"
#include "bench/reports/report_values.h"

namespace whittle {
namespace {

std::string with_unit(double value, const std::string& unit) {
  const std::string text = figure_text(value, unit);
  return unit.empty() || unit == "bytes" || !std::isfinite(value) ? text : text + " " + unit;
}

// As many budgets either way does the picture reach.
constexpr double most_budgets = 4;

HtmlTable checks_table(const ReportGroup& group, size_t r) {
  const nlohmann::json& report = group.reports[r]->json;
  HtmlTable table{with_letter(group, r, fmt::format("Checks: {}", text_at(report, "/outcome"))),
                  {{"check", "", true},
                   {"verdict", "", true},
                   {"before"},
                   {"now"},
                   {"worse by"},
                   {"interval"},
                   {"budget"},
                   {"p"},
                   {"reason", "", true}},
                  {}};
  for (const nlohmann::json* check : items_at(report, "/checks")) {
    const std::string unit = text_at(*check, "/unit"), change_unit = text_at(*check, "/change_unit");
    const Interval change = interval_at(*check, "/change_interval", number_at(*check, "/change"));
    table.rows.push_back({text_at(*check, "/name"), text_at(*check, "/outcome"),
                          with_unit(number_at(*check, "/before"), unit),
                          with_unit(number_at(*check, "/now"), unit), with_unit(change.mean, change_unit),
                          std::isfinite(change.low) ? format_interval(change, "") : "–",
                          with_unit(number_at(*check, "/budget"), change_unit),
                          format_general(number_at(*check, "/p_value")), text_at(*check, "/reason")});
  }
  return table;
}

}  // namespace

void add_gate_pictures(const ReportGroup& group, Pictures& pictures) {
  RowPlot rows(
      {.title = "Changes as parts of their budgets",
       .description = "How much worse each figure became, over what it may, with its interval. Beyond 1 "
                      "lies more than the budget; below 0 it became better. What is beyond the axis stands "
                      "on its end. Filled: passed.",
       .x = {.title = "change / budget", .from_zero = true, .least = -most_budgets, .most = most_budgets},
       .y = {.title = "check"},
       .lines = {{1, true, "budget"}}},
      {"change, with its interval"});
  for (const ReportItem& item : group.all("check").items)
    for (size_t r = 0; r < item.in.size(); ++r) {
      if (!item.in[r]) continue;
      const nlohmann::json& check = *item.in[r];
      const double budget = number_at(check, "/budget");
      const Interval change = interval_at(check, "/change_interval", number_at(check, "/change"));
      if (!(budget > 0)) continue;
      const std::string outcome = text_at(check, "/outcome");
      const double budgets = change.mean / budget;
      const std::string beyond = std::abs(budgets) > most_budgets
                                     ? fmt::format(", {} budgets", figure_text(std::round(budgets), ""))
                                     : "";
      rows.add_row(fmt::format("{}: {}{}", with_letter(group, r, text_at(check, "/name")), outcome, beyond),
                   {{.x = budgets,
                     .low = change.low / budget,
                     .high = change.high / budget,
                     .filled = outcome == "pass"}});
    }
  rows.add_to(pictures);
  for (size_t r = 0; r < group.reports.size(); ++r) {
    const nlohmann::json& report = group.reports[r]->json;
    pictures.notes.push_back(
        with_letter(group, r, fmt::format("{}: {}", text_at(report, "/outcome"), text_at(report, "/model"))));
    pictures.tables.push_back(checks_table(group, r));
    for (size_t i = 0; i < 20; ++i) {
      const std::string suspect = text_at(report, fmt::format("/suspects/{}", i));
      if (!suspect.empty()) pictures.notes.push_back(with_letter(group, r, "where it grew: " + suspect));
    }
  }
}

}  // namespace whittle
