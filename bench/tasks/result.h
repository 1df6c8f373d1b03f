#pragma once
// What one model answered to one task: plain data, to be kept and compared.

#include <cstdint>
#include <string>
#include <vector>

#include "bench/tasks/task.h"

namespace whittle {

struct ItemResult {
  int64_t line = 0;    // of the task's file: the item's name
  int64_t answer = 0;  // the right choice
  // The likeliest choice, the first of equal ones. Where there is but one: 0 if the model gives it, else −1.
  int64_t chosen = -1;
  // The likeliest choice by log likelihood over the choice's characters (code points, the space before it
  // left out), which is lm-evaluation-harness's acc_norm; −1 where there are no choices.
  int64_t chosen_normalized = -1;
  std::vector<double> log_likelihoods;  // natural, of each choice; none of exact_match
  std::string text;                     // exact_match: what the model wrote, trimmed

  bool correct() const { return chosen == answer; }
  bool correct_normalized() const { return chosen_normalized == answer; }

  bool operator==(const ItemResult&) const = default;
};

struct TaskResult {
  std::string name, file, format;  // of the task
  Scoring scoring = Scoring::choices;
  ClassMetric metric = ClassMetric::none;
  int64_t shots = 0;              // items of the file that stood before each other one, and were not asked
  int64_t context = 0;            // tokens that were looked at
  int64_t cut_items = 0;          // whose context was cut from the left to fit
  std::vector<ItemResult> items;  // in the file's order

  bool operator==(const TaskResult&) const = default;
};

}  // namespace whittle
