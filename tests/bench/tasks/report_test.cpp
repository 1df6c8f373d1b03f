#include "bench/tasks/report.h"

#include <catch2/catch.hpp>
#include <limits>

#include "bench/reports/table.h"
#include "kernels/error.h"
#include "tests/support/lines.h"

using namespace whittle;
using nlohmann::json;

namespace {

// Of 10 items the first `right` are answered right, apart from those of `flipped`.
TaskResult answers(size_t right, const std::vector<size_t>& flipped = {}) {
  TaskResult result{.name = "SST-2", .file = "SST-2/dev.tsv", .format = "GLUE", .context = 64};
  for (size_t i = 0; i < 10; ++i) {
    const bool flips = std::count(flipped.begin(), flipped.end(), i) > 0;
    const bool correct = (i < right) != flips;
    result.items.push_back({.line = static_cast<int64_t>(i) + 2,
                            .answer = 1,
                            .chosen = correct ? 1 : 0,
                            .chosen_normalized = 1,
                            .log_likelihoods = {-2, correct ? -1.0 : -3.0}});
  }
  return result;
}

}  // namespace

TEST_CASE("Two models' answers are compared item by item") {
  const TaskComparison comparison = compare_tasks(answers(7), answers(7, {0, 1, 2, 8}));
  CHECK(comparison.right_to_wrong == 3);
  CHECK(comparison.wrong_to_right == 1);
  CHECK(comparison.flips == std::vector<size_t>{0, 1, 2, 8});
  CHECK(comparison.p_value == Approx(0.625));
  CHECK(comparison.loss_points.mean == Approx(20));
  CHECK(comparison.loss_points.low < 20);
  CHECK(comparison.loss_points.high > 20);
  const TaskComparison better = compare_tasks(answers(5), answers(8));
  CHECK(better.loss_points.mean == Approx(-30));
  CHECK(loss_gate(answers(8), better, 0).passes());
}

TEST_CASE("Answers to other items are not compared") {
  TaskResult other = answers(5);
  other.items[3].line = 40;
  CHECK_THROWS_WITH(compare_tasks(answers(5), other), Catch::Contains("line 40"));
  other = answers(5);
  other.items[3].answer = 0;
  CHECK_THROWS_AS(compare_tasks(answers(5), other), Error);
  other = answers(5);
  other.items.pop_back();
  CHECK_THROWS_AS(compare_tasks(answers(5), other), Error);
  other = answers(5);
  other.shots = 3;
  CHECK_THROWS_AS(compare_tasks(answers(5), other), Error);
}

TEST_CASE("A file's name reaches no terminal as it is") {
  TaskResult result = answers(5);
  result.name = "a\x1b[2J.jsonl";
  result.file = "b/" + result.name;
  const TaskReport report = make_task_report(result, answers(5), 0);
  CHECK_THAT(task_text(report) + task_gate_text(report), !Catch::Contains("\x1b"));
  CHECK(tasks_json({report}, {})["tasks"][0]["name"] == result.name);
}

TEST_CASE("A limit is kept, exceeded or undecided by the interval of the difference") {
  const auto gate = [](size_t before, size_t after, double limit) {
    return *make_task_report(answers(after), answers(before), limit).gate;
  };
  CHECK(gate(9, 9, 50).verdict() == Verdict::kept);
  CHECK(gate(9, 9, 1).verdict() == Verdict::undecided);
  CHECK(gate(9, 9, 1).passes());
  CHECK(gate(9, 8, 1).verdict() == Verdict::undecided);
  CHECK_FALSE(gate(9, 8, 1).passes());
  CHECK(gate(10, 0, 1).verdict() == Verdict::exceeded);
  const TaskReport report = make_task_report(answers(8), answers(9), 1);
  CHECK_THAT(task_gate_text(report), Catch::Contains("10 items cannot decide") && Catch::Contains("SST-2"));
}

TEST_CASE("JSON has every item and every key, and null for what does not exist") {
  const TaskReport alone = make_task_report(answers(6), std::nullopt, std::nullopt);
  const json one = tasks_json({alone}, {});
  CHECK(one["schema"] == "whittle.tasks");
  CHECK(one["version"] == 1);
  const json& task = one["tasks"][0];
  for (const char* key : {"baseline", "comparison", "gate"}) CHECK(task.at(key).is_null());
  CHECK(task["items"].size() == 10);
  CHECK(task["items"][0]["line"] == 2);
  CHECK(task["items"][0]["baseline"].is_null());
  CHECK(task["items"][0]["model"]["correct"] == true);
  CHECK(task["items"][9]["model"]["chosen"] == 0);
  CHECK(task["items"][9]["model"]["log_likelihoods"] == json{-2.0, -3.0});
  CHECK(task["items"][9]["model"].at("text").is_null());
  CHECK(task["model"]["accuracy_percent"] == 60);
  for (const char* key : {"f1", "matthews", "perplexity"}) CHECK(task["model"].at(key).is_null());

  const json both = tasks_json({make_task_report(answers(6), answers(7), 5)}, {})["tasks"][0];
  CHECK(both["comparison"]["flips"] == json::array({{{"line", 8}, {"correct", false}}}));
  CHECK(both["comparison"]["mcnemar_p"] == 1);
  CHECK(both["gate"]["verdict"] == "undecided");
  CHECK(both["baseline"]["accuracy_percent"] == 70);
  for (const auto& [key, value] : task.items()) CHECK(both.contains(key));

  TaskResult words = answers(2);
  words.scoring = Scoring::last_word;
  for (ItemResult& item : words.items) item.log_likelihoods = {-5000}, item.chosen = -1;
  const json endless = tasks_json({make_task_report(words, std::nullopt, std::nullopt)}, {})["tasks"][0];
  CHECK(endless["model"].at("perplexity").is_null());
  CHECK(endless["model"].at("accuracy_normalized_percent").is_null());
  CHECK(endless["items"][0]["model"]["chosen"].is_null());
}

TEST_CASE("The table names flips by line, fits the terminal, and shows nothing that acts on it") {
  TaskResult model = answers(3);
  model.name = "a very long name of a file of questions that somebody has made.jsonl\x1b[2J";
  model.cut_items = 4;
  const std::string text = task_text(make_task_report(model, answers(6), std::nullopt));
  CHECK_THAT(text, Catch::Contains("right to wrong: lines 5, 6, 7"));
  std::string flat;  // notes are wrapped
  std::istringstream words(text);
  for (std::string word; words >> word;) flat += word + ' ';
  CHECK_THAT(flat, Catch::Contains("the beginning of 4 items did not fit"));
  CHECK_THAT(text, !Catch::Contains("\x1b"));
  for (const std::string& line : test::lines_of(text)) CHECK(display_width(line) <= report_width);
  const std::string alone = task_text(make_task_report(answers(6), std::nullopt, std::nullopt));
  CHECK_THAT(alone, !Catch::Contains("baseline"));
}
