#pragma once
// Which questions a model answered right, so that a later one can be asked the same.

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/regression/check.h"
#include "bench/regression/paired_check.h"
#include "bench/tasks/measure.h"
#include "bench/tasks/task_file.h"
#include "engine/files/json_file.h"

namespace whittle {

// A file of questions, as it is asked.
struct GateTask {
  TaskSource source;
  std::string text;  // the file's
  int64_t shots = 0, limit = 0;
};

struct TaskRecord {
  std::string glue;            // name of GLUE's task, or empty
  std::filesystem::path file;  // as seen from the stored file
  std::string text_hash;
  int64_t shots = 0, limit = 0;
  std::vector<int> correct;  // 1 or 0, item by item
};

TaskRecord record_task(const GateTask& task, const TaskResult& result);

nlohmann::json tasks_record_json(const std::vector<TaskRecord>& records);
// The field `tasks`. Throws Error that names the field.
std::vector<TaskRecord> read_tasks_record(const JsonFields& fields);

// Not comparable where the questions are not those of `before`.
std::vector<Check> check_task_inputs(const std::vector<TaskRecord>& before, const std::vector<GateTask>& now);
// The accuracy of one task, item by item. budget_points: of 100. Both have the same items.
PairedMetric task_metric(const TaskRecord& before, const TaskRecord& now, double budget_points);
// Answers that flipped, and how likely chance is to do so (McNemar), in words.
std::string flips_text(const TaskRecord& before, const TaskRecord& now);

}  // namespace whittle
