#include "bench/tasks/glue.h"

#include <algorithm>

#include "bench/tasks/prompt_template.h"
#include "bench/tasks/text_lines.h"
#include "engine/files/json_file.h"
#include "engine/tokenizer/unicode.h"
#include "kernels/error.h"

namespace whittle {
namespace {

std::vector<std::string> columns_of(std::string_view line) {
  std::vector<std::string> columns;
  for (size_t begin = 0;;) {
    const size_t end = line.find('\t', begin);
    columns.emplace_back(line.substr(begin, end - begin));
    if (end == std::string_view::npos) return columns;
    begin = end + 1;
  }
}

// Letters and digits alone, small ones.
std::string plain(std::string_view name) {
  std::string result;
  for (const char c : name) {
    if (c >= 'A' && c <= 'Z') result += static_cast<char>(c - 'A' + 'a');
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) result += c;
  }
  return result;
}

std::vector<GlueTask> make_tasks() {
  const std::vector<GlueLabel> no_yes = {{"0", "no"}, {"1", "yes"}};
  const std::vector<GlueLabel> follows = {{"entailment", "yes"}, {"not_entailment", "no"}};
  return {
      {"CoLA",
       "{sentence}\nIs this sentence well formed? Answer:",
       "label",
       no_yes,
       ClassMetric::matthews,
       {"source", "label", "star", "sentence"}},
      {"SST-2",
       "{sentence}\nIs this opinion negative or positive? It is",
       "label",
       {{"0", "negative"}, {"1", "positive"}}},
      {"MRPC", "A: {#1 String}\nB: {#2 String}\nDo A and B say the same? Answer:", "Quality", no_yes,
       ClassMetric::f1},
      {"QQP", "A: {question1}\nB: {question2}\nDo A and B ask the same? Answer:", "is_duplicate", no_yes,
       ClassMetric::f1},
      {"MNLI",
       "Given: {sentence1}\nClaim: {sentence2}\nIs the claim right, unclear or wrong? It is",
       "gold_label",
       {{"entailment", "right"}, {"neutral", "unclear"}, {"contradiction", "wrong"}}},
      {"QNLI", "Question: {question}\nText: {sentence}\nDoes the text answer the question? Answer:", "label",
       follows},
      {"RTE", "Given: {sentence1}\nClaim: {sentence2}\nDoes the claim follow? Answer:", "label", follows},
      {"WNLI", "Given: {sentence1}\nClaim: {sentence2}\nDoes the claim follow? Answer:", "label", no_yes},
  };
}

}  // namespace

std::span<const GlueTask> glue_tasks() {
  static const std::vector<GlueTask> tasks = make_tasks();
  return tasks;
}

const GlueTask* find_glue_task(std::string_view name) {
  const auto tasks = glue_tasks();
  const auto found =
      std::ranges::find_if(tasks, [&](const GlueTask& task) { return plain(task.name) == plain(name); });
  return found == tasks.end() ? nullptr : &*found;
}

std::vector<TaskItem> parse_glue(std::string_view text, const GlueTask& task, const std::string& file) {
  if (!is_valid_utf8(text)) fail("{}: not valid UTF-8", file);
  std::vector<TextLine> lines = lines_of(text);
  std::vector<std::string> names = task.columns;
  if (names.empty() && !lines.empty()) {
    names = columns_of(lines.front().text);
    lines.erase(lines.begin());
  }
  const auto column = [&](const std::string& name) {
    const auto found = std::ranges::find(names, name);
    if (found == names.end())
      fail("{}: no column {}; expected those of {}'s dev.tsv", file, quote(name), task.name);
    return static_cast<size_t>(found - names.begin());
  };
  const PromptTemplate prompt(task.prompt, task.name);
  std::vector<TaskItem> items;
  for (const TextLine& line : lines) {
    const std::string what = fmt::format("{}: line {}", file, line.number);
    const std::vector<std::string> cells = columns_of(line.text);
    if (cells.size() != names.size())
      fail("{}: expected {} columns, found {}", what, names.size(), cells.size());
    TaskItem& item = items.emplace_back();
    item.line = line.number;
    item.context = prompt.fill([&](const std::string& name) { return cells[column(name)]; });
    for (const GlueLabel& label : task.labels) item.choices.push_back(label.word);
    const std::string& given = cells[column(task.label_column)];
    const auto label = std::ranges::find(task.labels, given, &GlueLabel::in_file);
    if (label == task.labels.end()) {
      std::vector<std::string> expected;
      for (const GlueLabel& one : task.labels) expected.push_back(one.in_file);
      fail("{}: column {}: expected {}, found {}", what, quote(task.label_column),
           fmt::join(expected, " or "), quote(given));
    }
    item.answer = label - task.labels.begin();
  }
  return items;
}

}  // namespace whittle
