#pragma once
// A model's answers to a task.

#include <cstdint>
#include <functional>

#include "bench/tasks/result.h"
#include "bench/tasks/task.h"
#include "engine/model.h"
#include "engine/tokenizer/tokenizer.h"
#include "kernels/kernel_table.h"
#include "kernels/threads.h"

namespace whittle {

struct TaskOptions {
  int64_t shots = 0;    // the first items of the file: examples, which stand before each other item
  int64_t limit = 0;    // ask only so many of the others; 0: all
  int64_t context = 0;  // tokens; 0: the model's max_position_embeddings
  int64_t batch = 16;   // items that are asked together
  KvFormat kv_cache = KvFormat::f16;
};

// Throws OptionError unless the task has an item left beside the shots.
void check_shots(const Task& task, int64_t shots);

using TaskProgress = std::function<void(int64_t done, int64_t total)>;  // items

// Log likelihoods and text are the same bits for any batch and any number of threads. Throws Error that names
// the file and the line where an item cannot be asked.
TaskResult measure_task(const Model& model, const Tokenizer& tokenizer, const Team& team, const Task& task,
                        const TaskOptions& options, const TaskProgress& progress);

}  // namespace whittle
