#include "bench/tasks/comparison.h"

#include "bench/proportions.h"
#include "kernels/error.h"

namespace whittle {

TaskComparison compare_tasks(const TaskResult& baseline, const TaskResult& model) {
  if (baseline.items.size() != model.items.size() || baseline.shots != model.shots)
    fail("{}: {} items after {} shots cannot be compared with {} after {}", model.name, model.items.size(),
         model.shots, baseline.items.size(), baseline.shots);
  TaskComparison comparison;
  for (size_t i = 0; i < model.items.size(); ++i) {
    const ItemResult &before = baseline.items[i], &after = model.items[i];
    if (before.line != after.line || before.answer != after.answer)
      fail("{}: line {} is another item than the baseline was asked", model.name, after.line);
    if (before.correct() == after.correct()) continue;
    ++(before.correct() ? comparison.right_to_wrong : comparison.wrong_to_right);
    comparison.flips.push_back(i);
  }
  comparison.p_value = mcnemar_exact(comparison.right_to_wrong, comparison.wrong_to_right);
  comparison.loss_points =
      paired_loss_interval_95(comparison.right_to_wrong, comparison.wrong_to_right, std::ssize(model.items));
  for (double* value :
       {&comparison.loss_points.mean, &comparison.loss_points.low, &comparison.loss_points.high})
    *value *= 100;
  return comparison;
}

Gate loss_gate(const TaskResult& model, const TaskComparison& comparison, double points) {
  return {"max_loss", model.name + ": accuracy lost, in points,", points, comparison.loss_points};
}

}  // namespace whittle
