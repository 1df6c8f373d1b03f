#include "bench/tasks/metrics.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <random>

using namespace whittle;

namespace {

TaskResult random_result(std::mt19937& random, int64_t classes, size_t count) {
  TaskResult result{.name = "t"};
  for (size_t i = 0; i < count; ++i) {
    const auto draw = [&] { return static_cast<int64_t>(random() % static_cast<uint64_t>(classes)); };
    ItemResult item{.line = static_cast<int64_t>(i) + 1, .answer = draw(), .chosen = draw()};
    if (random() % 3) item.chosen = item.answer;
    item.chosen_normalized = draw();
    result.items.push_back(item);
  }
  return result;
}

// Matthews' correlation as what it is: Pearson's, of the indicators of all classes.
double slow_matthews(const TaskResult& result, int64_t classes) {
  double covariance = 0, answers = 0, chosen = 0;
  const auto n = static_cast<double>(result.items.size());
  for (int64_t k = 0; k < classes; ++k) {
    double mean_answer = 0, mean_chosen = 0;
    for (const ItemResult& item : result.items) {
      mean_answer += (item.answer == k) / n;
      mean_chosen += (item.chosen == k) / n;
    }
    for (const ItemResult& item : result.items) {
      const double x = (item.answer == k) - mean_answer, y = (item.chosen == k) - mean_chosen;
      covariance += x * y;
      answers += x * x;
      chosen += y * y;
    }
  }
  return covariance / std::sqrt(answers * chosen);
}

}  // namespace

TEST_CASE("Accuracy, F1 and Matthews' correlation are those of their definitions") {
  std::mt19937 random(5);
  for (int round = 0; round < 40; ++round) {
    const int64_t classes = 2 + round % 3;
    TaskResult result = random_result(random, classes, 30 + random() % 50);
    result.metric = ClassMetric::matthews;
    double right = 0, right_normalized = 0;
    for (const ItemResult& item : result.items) {
      right += item.chosen == item.answer;
      right_normalized += item.chosen_normalized == item.answer;
    }
    const TaskFigures figures = task_figures(result);
    const auto n = static_cast<double>(result.items.size());
    CHECK(figures.accuracy.mean == Approx(right / n));
    CHECK(figures.accuracy_normalized->mean == Approx(right_normalized / n));
    CHECK(*figures.matthews == Approx(slow_matthews(result, classes)));
    CHECK_FALSE(figures.f1);
    CHECK_FALSE(figures.perplexity);
    if (classes > 2) continue;
    result.metric = ClassMetric::f1;
    double both = 0, said = 0, are = 0;
    for (const ItemResult& item : result.items) {
      both += item.chosen == 1 && item.answer == 1;
      said += item.chosen == 1;
      are += item.answer == 1;
    }
    const double precision = both / said, recall = both / are;
    CHECK(*task_figures(result).f1 == Approx(2 * precision * recall / (precision + recall)));
    CHECK_FALSE(task_figures(result).matthews);
  }
}

TEST_CASE("Figures that are undefined are 0, as GLUE has them") {
  TaskResult result{.metric = ClassMetric::f1};
  result.items = {{.line = 1, .answer = 0, .chosen = 0}, {.line = 2, .answer = 0, .chosen = 0}};
  CHECK(*task_figures(result).f1 == 0);
  result.metric = ClassMetric::matthews;
  CHECK(*task_figures(result).matthews == 0);
  CHECK(task_figures(result).accuracy.mean == 1);
}

TEST_CASE("The perplexity of last words is that of a word, not of a token") {
  TaskResult result{.scoring = Scoring::last_word};
  result.items = {{.line = 1, .chosen = 0, .log_likelihoods = {-1}}, {.line = 2, .log_likelihoods = {-4}}};
  const TaskFigures figures = task_figures(result);
  CHECK(*figures.perplexity == Approx(std::exp(2.5)));
  CHECK(figures.accuracy.mean == 0.5);
  CHECK_FALSE(figures.accuracy_normalized);
}
