#include <fmt/format.h>

#include "bench/reports/figures.h"
#include "bench/reports/pages/pictures.h"
#include "bench/reports/report_values.h"

namespace whittle {
namespace {

PlotPoint accuracy(const nlohmann::json& task, const char* who) {
  const Interval found = interval_at(task, fmt::format("/{}/accuracy_percent_ci95", who),
                                     number_at(task, fmt::format("/{}/accuracy_percent", who)));
  return {.x = found.mean, .low = found.low, .high = found.high};
}

// Answers that are right in one of the two only, item by item.
void add_flips(const ReportGroup& group, size_t r, const ReportItem& item, Pictures& pictures) {
  const std::vector<const nlohmann::json*> flips = items_at(*item.in[r], "/comparison/flips");
  if (flips.empty()) return;
  const std::string task = item.name.empty() ? text_at(*item.in[r], "/name") : item.name;
  HtmlTable table{"Flips: " + with_letter(group, r, task), {{"line"}, {"", "", true}}, {}};
  for (const nlohmann::json* flip : flips)
    table.rows.push_back(
        {text_at(*flip, "/line"), value_at(*flip, "/correct") == true ? "now right" : "now wrong"});
  pictures.tables.push_back(std::move(table));
}

}  // namespace

void add_task_pictures(const ReportGroup& group, Pictures& pictures) {
  RowPlot accuracies({.title = "Accuracy",
                      .description = "Answers that are right, with 95 % intervals. More is better.",
                      .x = {.title = "% right"},
                      .y = {.title = "task"}},
                     {"model", "baseline"});
  RowPlot flips({.title = "Flips",
                 .description = "Answers that went from right to wrong, and from wrong to right, beside the "
                                "baseline's. McNemar's p is the chance of a split at least as uneven.",
                 .x = {.title = "answers", .from_zero = true, .whole = true},
                 .y = {.title = "task"}},
                {"right to wrong", "wrong to right"});
  for (const ReportItem& item : group.all("task").items)
    for (size_t r = 0; r < item.in.size(); ++r) {
      if (!item.in[r]) continue;
      const nlohmann::json& task = *item.in[r];
      const std::string name = with_letter(group, r, item.name.empty() ? text_at(task, "/name") : item.name);
      accuracies.add_row(name, {accuracy(task, "model"), accuracy(task, "baseline")});
      flips.add_row(fmt::format("{} (p {})", name, format_general(number_at(task, "/comparison/mcnemar_p"))),
                    {{.x = number_at(task, "/comparison/right_to_wrong")},
                     {.x = number_at(task, "/comparison/wrong_to_right")}});
    }
  accuracies.add_to(pictures);
  flips.add_to(pictures);
  for (const ReportItem& item : group.all("task").items)
    for (size_t r = 0; r < item.in.size(); ++r)
      if (item.in[r] && pictures.tables.size() < most_pictures) add_flips(group, r, item, pictures);
}

}  // namespace whittle
