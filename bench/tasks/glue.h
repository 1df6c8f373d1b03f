#pragma once
// The tasks of GLUE (Wang et al., 2019, "GLUE: A Multi-Task Benchmark and Analysis Platform for Natural
// Language Understanding"), read from its own dev.tsv: columns between tabs, nothing quoted, names of columns
// in the first line (CoLA has none). Prompts are Whittle's own: accuracies of other programs' prompts differ.
// A classification file (task_file.h) asks the same in other words.

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/tasks/task.h"

namespace whittle {

struct GlueLabel {
  std::string in_file;
  std::string word;  // that the model is to say
};

struct GlueTask {
  std::string name;  // "SST-2"
  std::string prompt;
  std::string label_column;
  std::vector<GlueLabel> labels;  // of two, the second is what F1 looks for
  ClassMetric metric = ClassMetric::none;
  std::vector<std::string> columns = {};  // of a file that does not name them
};

std::span<const GlueTask> glue_tasks();
// By its name in any case, with or without hyphens ("sst2"); nullptr for any other name.
const GlueTask* find_glue_task(std::string_view name);

// Throws Error that names file, line and column.
std::vector<TaskItem> parse_glue(std::string_view text, const GlueTask& task, const std::string& file);

}  // namespace whittle
