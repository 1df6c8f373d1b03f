#include "bench/regression/task_record.h"

#include <fmt/format.h>

#include <algorithm>

#include "bench/proportions.h"
#include "bench/reports/figures.h"
#include "engine/files/file_hash.h"
#include "kernels/error.h"

namespace whittle {

TaskRecord record_task(const GateTask& task, const TaskResult& result) {
  TaskRecord record{.glue = task.source.glue ? task.source.glue->name : "",
                    .file = task.source.file,
                    .text_hash = hash_of(task.text),
                    .shots = task.shots,
                    .limit = task.limit};
  for (const ItemResult& item : result.items) record.correct.push_back(item.correct());
  return record;
}

nlohmann::json tasks_record_json(const std::vector<TaskRecord>& records) {
  nlohmann::json json = nlohmann::json::array();
  for (const TaskRecord& record : records)
    json.push_back({{"glue", record.glue},
                    {"file", record.file.string()},
                    {"text_hash", record.text_hash},
                    {"shots", record.shots},
                    {"limit", record.limit},
                    {"correct", record.correct}});
  return json;
}

std::vector<TaskRecord> read_tasks_record(const JsonFields& fields) {
  constexpr int64_t most = int64_t{1} << 30;
  const nlohmann::json& tasks = fields.at("tasks");
  if (!tasks.is_array()) fields.reject("tasks", "expected an array");
  std::vector<TaskRecord> records;
  for (const nlohmann::json& json : tasks) {
    const JsonFields task(json, fields.what() + ": field \"tasks\"");
    TaskRecord& record = records.emplace_back();
    record.glue = task.string("glue");
    if (!record.glue.empty() && !find_glue_task(record.glue))
      task.reject("glue", "no task of GLUE: " + quote(record.glue));
    record.file = task.string("file");
    record.text_hash = task.string("text_hash");
    record.shots = task.integer("shots", 0, most);
    record.limit = task.integer("limit", 0, most);
    const nlohmann::json& correct = task.at("correct");
    if (!correct.is_array() || correct.empty()) task.reject("correct", "expected an array of 0 and 1");
    for (const nlohmann::json& one : correct) {
      if (one != 0 && one != 1) task.reject("correct", "expected 0 or 1, found " + json_text(one));
      record.correct.push_back(one == 1);
    }
  }
  return records;
}

std::vector<Check> check_task_inputs(const std::vector<TaskRecord>& before,
                                     const std::vector<GateTask>& now) {
  std::vector<Check> checks;
  for (size_t i = 0; i < before.size(); ++i)
    if (before[i].text_hash != hash_of(now[i].text)) {
      Check& check = checks.emplace_back();
      check.name = "task " + before[i].file.filename().string();
      check.outcome = Outcome::incomparable;
      check.reason = "its questions are not those that were asked before";
    }
  return checks;
}

PairedMetric task_metric(const TaskRecord& before, const TaskRecord& now, double budget_points) {
  if (before.correct.size() != now.correct.size())
    fail("{}: {} items were answered before, {} now", before.file.string(), before.correct.size(),
         now.correct.size());
  return {.name = "task " + (before.glue.empty() ? before.file.filename().string() : before.glue),
          .unit = "% right",
          .before = {before.correct.begin(), before.correct.end()},
          .now = {now.correct.begin(), now.correct.end()},
          .shown = [](double fraction) { return 100 * fraction; },
          .higher_is_better = true,
          .budget = budget_points / 100,
          .change_unit = "points",
          .change_scale = 100};
}

std::string flips_text(const TaskRecord& before, const TaskRecord& now) {
  int64_t lost = 0, won = 0;
  for (size_t i = 0; i < before.correct.size(); ++i) {
    lost += before.correct[i] > now.correct[i];
    won += before.correct[i] < now.correct[i];
  }
  return fmt::format("{} items became wrong and {} right (McNemar's p {})", lost, won,
                     format_general(mcnemar_exact(lost, won)));
}

}  // namespace whittle
