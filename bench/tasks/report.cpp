#include "bench/tasks/report.h"

#include <fmt/format.h>

#include "bench/reports/figures.h"
#include "bench/reports/json_report.h"
#include "bench/reports/table.h"
#include "bench/tasks/metrics.h"
#include "engine/files/json_file.h"

namespace whittle {
namespace {

nlohmann::json proportion_json(const std::optional<Interval>& part, const char* key) {
  const std::string interval = fmt::format("{}_ci95", key);
  if (!part) return {{key, nullptr}, {interval, nullptr}};
  const Interval percent = {100 * part->mean, 100 * part->low, 100 * part->high};
  return {{key, or_null(percent.mean)}, {interval, bounds_json(percent)}};
}

nlohmann::json figures_json(const TaskResult& result) {
  const TaskFigures figures = task_figures(result);
  nlohmann::json json = proportion_json(figures.accuracy, "accuracy_percent");
  json.update(proportion_json(figures.accuracy_normalized, "accuracy_normalized_percent"));
  json["f1"] = or_null(figures.f1);
  json["matthews"] = or_null(figures.matthews);
  json["perplexity"] = or_null(figures.perplexity);
  json["items_cut"] = result.cut_items;
  return json;
}

nlohmann::json answer_json(const TaskResult& result, size_t i) {
  const ItemResult& item = result.items[i];
  const auto index = [](int64_t choice) { return choice < 0 ? nlohmann::json() : nlohmann::json(choice); };
  nlohmann::json likelihoods = nlohmann::json::array();
  for (const double value : item.log_likelihoods) likelihoods.push_back(or_null(value));
  const bool text = result.scoring == Scoring::exact_match;
  return {{"chosen", index(item.chosen)},
          {"correct", item.correct()},
          {"chosen_normalized", index(item.chosen_normalized)},
          {"log_likelihoods", text ? nlohmann::json() : likelihoods},
          {"text", text ? nlohmann::json(item.text) : nlohmann::json()}};
}

nlohmann::json comparison_json(const TaskReport& task) {
  if (!task.comparison) return nullptr;
  const TaskComparison& comparison = *task.comparison;
  nlohmann::json flips = nlohmann::json::array();
  for (const size_t i : comparison.flips)
    flips.push_back({{"line", task.model.items[i].line}, {"correct", task.model.items[i].correct()}});
  return {{"right_to_wrong", comparison.right_to_wrong},
          {"wrong_to_right", comparison.wrong_to_right},
          {"mcnemar_p", or_null(comparison.p_value)},
          {"loss_points", or_null(comparison.loss_points.mean)},
          {"loss_points_ci95", bounds_json(comparison.loss_points)},
          {"flips", flips}};
}

nlohmann::json task_json(const TaskReport& task) {
  const TaskResult& model = task.model;
  nlohmann::json items = nlohmann::json::array();
  for (size_t i = 0; i < model.items.size(); ++i)
    items.push_back({{"line", model.items[i].line},
                     {"answer", model.items[i].answer},
                     {"baseline", task.baseline ? answer_json(*task.baseline, i) : nlohmann::json()},
                     {"model", answer_json(model, i)}});
  return {{"name", model.name},
          {"file", model.file},
          {"format", model.format},
          {"shots", model.shots},
          {"context", model.context},
          {"count", model.items.size()},
          {"baseline", task.baseline ? figures_json(*task.baseline) : nlohmann::json()},
          {"model", figures_json(model)},
          {"comparison", comparison_json(task)},
          {"gate", task.gate ? gates_json(std::span(&*task.gate, 1))[0] : nlohmann::json()},
          {"items", items}};
}

std::string percents(const Interval& part) {
  return fmt::format("{:.1f} to {:.1f} %", 100 * part.low, 100 * part.high);
}

std::string counted(int64_t count, const char* what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

// Lines of items that flipped in one direction: the first few.
std::string flipped(const TaskReport& task, bool to_right) {
  constexpr int most = 20;
  std::string text;
  int count = 0;
  for (const size_t i : task.comparison->flips) {
    if (task.model.items[i].correct() != to_right) continue;
    if (++count > most) return text + ", …";
    text += fmt::format("{}{}", text.empty() ? "" : ", ", task.model.items[i].line);
  }
  return text;
}

void add_comparison(const TaskReport& task, Table& table) {
  const TaskComparison& comparison = *task.comparison;
  const auto row = [&](const char* name, const std::string& value) { table.add_row({name, "", value}); };
  row("accuracy lost, in points", format_signed(comparison.loss_points.mean, 2));
  row("  95 % interval", format_interval(comparison.loss_points, ""));
  row("right to wrong", fmt::format("{}", comparison.right_to_wrong));
  row("wrong to right", fmt::format("{}", comparison.wrong_to_right));
  row("McNemar's exact p", format_number(comparison.p_value));
  for (const bool to_right : {false, true})
    if (const std::string lines = flipped(task, to_right); !lines.empty())
      table.add_note(fmt::format("{}: lines {}", to_right ? "wrong to right" : "right to wrong", lines));
}

}  // namespace

TaskReport make_task_report(TaskResult model, std::optional<TaskResult> baseline,
                            std::optional<double> max_loss) {
  TaskReport report{.model = std::move(model), .baseline = std::move(baseline)};
  if (report.baseline) report.comparison = compare_tasks(*report.baseline, report.model);
  if (report.comparison && max_loss) report.gate = loss_gate(report.model, *report.comparison, *max_loss);
  return report;
}

nlohmann::json tasks_json(const std::vector<TaskReport>& tasks, const Fingerprint& fingerprint) {
  nlohmann::json json = report_header("tasks", fingerprint);
  json["tasks"] = nlohmann::json::array();
  for (const TaskReport& task : tasks) json["tasks"].push_back(task_json(task));
  return json;
}

std::string task_text(const TaskReport& task) {
  const TaskFigures model = task_figures(task.model);
  const TaskFigures baseline = task.baseline ? task_figures(*task.baseline) : model;
  std::vector<Column> columns = {{task.model.name, Align::left}, {"model"}};
  if (task.baseline) columns.insert(columns.begin() + 1, {"baseline"});
  Table table(columns);
  const auto row = [&](const char* name, const auto& text_of) {
    if (task.baseline)
      table.add_row({name, text_of(baseline), text_of(model)});
    else
      table.add_row({name, text_of(model)});
  };
  row("accuracy", [](const TaskFigures& f) { return fmt::format("{:.2f} %", 100 * f.accuracy.mean); });
  row("  95 % interval", [](const TaskFigures& f) { return percents(f.accuracy); });
  if (model.accuracy_normalized) {
    row("accuracy by likelihood a character",
        [](const TaskFigures& f) { return fmt::format("{:.2f} %", 100 * f.accuracy_normalized->mean); });
    row("  95 % interval", [](const TaskFigures& f) { return percents(*f.accuracy_normalized); });
  }
  if (model.f1) row("F1", [](const TaskFigures& f) { return format_fixed(*f.f1, 4); });
  if (model.matthews)
    row("Matthews' correlation", [](const TaskFigures& f) { return format_fixed(*f.matthews, 4); });
  if (model.perplexity)
    row("perplexity of the last word", [](const TaskFigures& f) { return format_fixed(*f.perplexity, 3); });
  if (task.comparison) add_comparison(task, table);
  std::string note =
      fmt::format("{}: {} of {}, {}, context {}", task.model.format, counted(model.items, "item"),
                  printable(task.model.file), counted(task.model.shots, "shot"), task.model.context);
  if (task.model.cut_items)
    note +=
        fmt::format("; the beginning of {} did not fit and was cut", counted(task.model.cut_items, "item"));
  table.add_note(note);
  return table.text();
}

std::string task_gate_text(const TaskReport& task) {
  // The file's name is in it.
  return printable(
      gate_text(*task.gate, std::ssize(task.model.items), {"item", "more items give a narrower interval"}));
}

}  // namespace whittle
