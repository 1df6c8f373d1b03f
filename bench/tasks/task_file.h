#pragma once
// Files of questions. A file says by its content which kind it is:
//
// JSON lines, one object a line, told apart by a field of the first:
//   choices   multiple choice as lm-evaluation-harness has it: the context in `context`, `query` or
//             `question`; `choices`, two texts or more; the index of the right one in `answer`, `gold` or
//             `label`. Of several such fields the first of these counts.
//   template  classification. The first line is {"template": "{text} It was", "labels": ["bad", "good"]} and
//             perhaps "metric": "accuracy", "f1" (of the second label) or "matthews"; every other line has
//             the template's fields, and `label`: an index, or a label itself.
//   prompt    exact match: `prompt`, and `answer`, one line of text.
//   text      LAMBADA: the last word of `text` is to be found.
// Other fields are passed over. TSV: GLUE's, see glue.h. Blank lines are skipped.

#include <string>
#include <string_view>

#include "bench/tasks/glue.h"
#include "bench/tasks/task.h"

namespace whittle {

struct TaskSource {
  std::string file;                // a path, or "-"
  const GlueTask* glue = nullptr;  // a table of this task; else JSON lines
};

// What the user names: FILE, or TASK=FILE with a task of GLUE. A FILE that ends in .tsv is one of GLUE's,
// which then is the name of its folder, as in SST-2/dev.tsv. Throws Error where that is no such task.
TaskSource task_source(const std::string& given);

// Throws Error that names the file, the line and the field.
Task parse_task(std::string_view text, const TaskSource& source);

}  // namespace whittle
