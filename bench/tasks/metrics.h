#pragma once
// Figures of a task's answers, as the tasks' own papers take them.

#include <cstdint>
#include <optional>

#include "bench/statistics.h"
#include "bench/tasks/result.h"

namespace whittle {

struct TaskFigures {
  int64_t items = 0;
  Interval accuracy;                            // part of 1, with Wilson's 95 % interval
  std::optional<Interval> accuracy_normalized;  // of choices
  std::optional<double> f1;                     // of the second choice, 0 where that is undefined
  // Matthews' correlation, of any number of classes (Gorodkin, 2004), 0 where it is undefined.
  std::optional<double> matthews;
  std::optional<double> perplexity;  // of last words: exp(− the mean log likelihood of a word)
};

// `result` has at least one item.
TaskFigures task_figures(const TaskResult& result);

}  // namespace whittle
