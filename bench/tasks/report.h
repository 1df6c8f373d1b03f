#pragma once
// Answers as a table and as JSON.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bench/fingerprint.h"
#include "bench/gate.h"
#include "bench/tasks/comparison.h"
#include "bench/tasks/result.h"

namespace whittle {

// One task as it was answered, alone or beside the baseline's answers.
struct TaskReport {
  TaskResult model;
  std::optional<TaskResult> baseline;
  std::optional<TaskComparison> comparison;  // where there is a baseline
  std::optional<Gate> gate;                  // where a limit was given
};

// Throws Error as compare_tasks. `max_loss`: in points of accuracy.
TaskReport make_task_report(TaskResult model, std::optional<TaskResult> baseline,
                            std::optional<double> max_loss);

// Keys: see bench/reports/schemas/.
nlohmann::json tasks_json(const std::vector<TaskReport>& tasks, const Fingerprint& fingerprint);
std::string task_text(const TaskReport& task);
// gate_text() of a gate about items.
std::string task_gate_text(const TaskReport& task);

}  // namespace whittle
