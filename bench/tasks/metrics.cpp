#include "bench/tasks/metrics.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "bench/proportions.h"

namespace whittle {
namespace {

double f1(const std::vector<ItemResult>& items) {
  int64_t found = 0, wrong = 0;  // true positives; false ones and false negatives
  for (const ItemResult& item : items) {
    found += item.answer == 1 && item.chosen == 1;
    wrong += (item.answer == 1) != (item.chosen == 1);
  }
  return found ? static_cast<double>(2 * found) / static_cast<double>(2 * found + wrong) : 0;
}

double matthews(const std::vector<ItemResult>& items) {
  struct Class {
    double answers = 0, chosen = 0;
  };
  std::map<int64_t, Class> classes;
  double correct = 0, squares_answers = 0, squares_chosen = 0, products = 0;
  for (const ItemResult& item : items) {
    ++classes[item.answer].answers;
    ++classes[item.chosen].chosen;
    correct += item.correct();
  }
  for (const auto& [index, one] : classes) {
    squares_answers += one.answers * one.answers;
    squares_chosen += one.chosen * one.chosen;
    products += one.answers * one.chosen;
  }
  const auto n = static_cast<double>(items.size());
  const double spread = std::sqrt(n * n - squares_answers) * std::sqrt(n * n - squares_chosen);
  return spread > 0 ? (correct * n - products) / spread : 0;
}

}  // namespace

TaskFigures task_figures(const TaskResult& result) {
  const std::vector<ItemResult>& items = result.items;
  TaskFigures figures;
  figures.items = std::ssize(items);
  figures.accuracy = wilson_interval_95(std::ranges::count_if(items, &ItemResult::correct), figures.items);
  if (result.scoring == Scoring::choices)
    figures.accuracy_normalized =
        wilson_interval_95(std::ranges::count_if(items, &ItemResult::correct_normalized), figures.items);
  if (result.metric == ClassMetric::f1) figures.f1 = f1(items);
  if (result.metric == ClassMetric::matthews) figures.matthews = matthews(items);
  if (result.scoring == Scoring::last_word) {
    double sum = 0;
    for (const ItemResult& item : items) sum += item.log_likelihoods[0];
    figures.perplexity = std::exp(-sum / static_cast<double>(figures.items));
  }
  return figures;
}

}  // namespace whittle
