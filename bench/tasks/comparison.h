#pragma once
// Two models' answers to the same task, item by item.

#include <cstdint>
#include <vector>

#include "bench/gate.h"
#include "bench/statistics.h"
#include "bench/tasks/result.h"

namespace whittle {

struct TaskComparison {
  int64_t right_to_wrong = 0, wrong_to_right = 0;  // items
  double p_value = 1;                              // McNemar's exact test: that both kinds are as likely
  Interval loss_points;       // baseline's accuracy less the model's, in points of 100, and its 95 % interval
  std::vector<size_t> flips;  // indices of items that one answered right and the other wrong
};

// Throws Error unless both were asked the same items.
TaskComparison compare_tasks(const TaskResult& baseline, const TaskResult& model);

// That the accuracy falls by at most `points`.
Gate loss_gate(const TaskResult& model, const TaskComparison& comparison, double points);

}  // namespace whittle
