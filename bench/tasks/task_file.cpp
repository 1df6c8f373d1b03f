#include "bench/tasks/task_file.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <functional>
#include <optional>

#include "bench/tasks/prompt_template.h"
#include "bench/tasks/text_lines.h"
#include "engine/files/json_file.h"
#include "engine/files/lfs_pointer.h"
#include "kernels/error.h"

namespace whittle {
namespace {

using ReadItem = std::function<TaskItem(const JsonFields& fields)>;

// The first of `names` that is there.
const char* first_of(const JsonFields& fields, std::initializer_list<const char*> names) {
  const auto* const found = std::ranges::find_if(names, [&](const char* name) { return fields.has(name); });
  if (found == names.end()) fail("{}: no field {}", fields.what(), fmt::join(names, ", "));
  return *found;
}

// Two texts or more, none of them empty.
std::vector<std::string> texts(const JsonFields& fields, const char* field) {
  const nlohmann::json& list = fields.at(field);
  if (!list.is_array() || list.size() < 2)
    fields.reject(field, "expected an array of two texts or more, found " +
                             (list.is_array() ? fmt::format("{}", list.size()) : json_text(list)));
  std::vector<std::string> found;
  for (const nlohmann::json& text : list) {
    if (!text.is_string() || text.get_ref<const std::string&>().empty())
      fields.reject(field,
                    fmt::format("element {}: expected a text, found {}", found.size(), json_text(text)));
    found.push_back(text);
  }
  return found;
}

TaskItem read_multiple_choice(const JsonFields& fields) {
  TaskItem item;
  item.context = fields.string(first_of(fields, {"context", "query", "question"}));
  item.choices = texts(fields, "choices");
  item.answer =
      fields.integer(first_of(fields, {"answer", "gold", "label"}), 0, std::ssize(item.choices) - 1);
  return item;
}

TaskItem read_exact_match(const JsonFields& fields) {
  TaskItem item;
  item.context = fields.string("prompt");
  const std::string answer = fields.string("answer");
  item.choices = {std::string(trimmed(answer))};
  if (item.context.empty()) fields.reject("prompt", "expected a text, found \"\"");
  if (item.choices[0].empty() || item.choices[0].find('\n') != std::string::npos)
    fields.reject("answer", "expected one line of text, found " + quote(answer));
  return item;
}

// As lm-evaluation-harness cuts it: at the last space.
TaskItem read_last_word(const JsonFields& fields) {
  const std::string text = fields.string("text");
  const size_t space = text.rfind(' ');
  if (space == std::string::npos || space == 0 || space + 1 == text.size())
    fields.reject("text", "expected two words or more, found " + quote(text));
  return {.context = text.substr(0, space), .choices = {text.substr(space + 1)}};
}

ClassMetric metric_named(const JsonFields& header, size_t labels) {
  const std::string name = header.string("metric", "accuracy");
  if (name == "accuracy") return ClassMetric::none;
  if (name == "matthews") return ClassMetric::matthews;
  if (name != "f1") header.reject("metric", "expected accuracy, f1 or matthews, found " + quote(name));
  if (labels != 2) header.reject("metric", fmt::format("f1 needs two labels, found {}", labels));
  return ClassMetric::f1;
}

TaskItem read_classified(const JsonFields& fields, const PromptTemplate& prompt,
                         const std::vector<std::string>& labels) {
  TaskItem item;
  item.context = prompt.fill([&](const std::string& name) { return fields.string(name.c_str()); });
  item.choices = labels;
  const nlohmann::json& label = fields.at("label");
  if (!label.is_string()) {
    item.answer = fields.integer("label", 0, std::ssize(labels) - 1);
    return item;
  }
  const auto found = std::ranges::find(labels, label.get_ref<const std::string&>());
  if (found == labels.end())
    fields.reject("label",
                  fmt::format("expected an index or one of the header's labels, found {}", json_text(label)));
  item.answer = found - labels.begin();
  return item;
}

struct Format {
  const char* field;  // of the first line, which tells that it is this one
  const char* name;
  Scoring scoring;
  TaskItem (*read)(const JsonFields& fields);  // nullptr: the first line says how
};
constexpr std::array formats = {
    Format{"choices", "multiple choice", Scoring::choices, read_multiple_choice},
    Format{"template", "classification", Scoring::choices, nullptr},
    Format{"prompt", "exact match", Scoring::exact_match, read_exact_match},
    Format{"text", "LAMBADA", Scoring::last_word, read_last_word},
};

const Format& format_of(const JsonFields& first) {
  const auto* const format =
      std::ranges::find_if(formats, [&](const Format& row) { return first.has(row.field); });
  if (format == formats.end()) {
    std::vector<std::string> fields;
    for (const Format& row : formats) fields.push_back(quote(row.field));
    fail("{}: expected one of the fields {}, which say what kind of task it is", first.what(),
         fmt::join(fields, ", "));
  }
  return *format;
}

void read_json_lines(std::string_view text, Task& task) {
  const Format* format = nullptr;
  ReadItem read;
  for (const TextLine& line : lines_of(text)) {
    const std::string what = fmt::format("{}: line {}", task.file, line.number);
    const nlohmann::json object = parse_json(line.text, what);
    const JsonFields fields(object, what);
    if (!format) {
      format = &format_of(fields);
      task.format = format->name;
      task.scoring = format->scoring;
      read = format->read;
      if (!read) {
        const std::vector<std::string> labels = texts(fields, "labels");
        task.metric = metric_named(fields, labels.size());
        const PromptTemplate prompt(fields.string("template"), what + ": field \"template\"");
        read = [=](const JsonFields& item) { return read_classified(item, prompt, labels); };
        continue;
      }
    }
    task.items.push_back(read(fields));
    task.items.back().line = line.number;
  }
}

}  // namespace

TaskSource task_source(const std::string& given) {
  const size_t equals = given.find('=');
  if (equals != std::string::npos)
    if (const GlueTask* task = find_glue_task(given.substr(0, equals)))
      return {given.substr(equals + 1), task};
  const std::filesystem::path path = given;
  if (path.extension() != ".tsv") return {given, nullptr};
  const GlueTask* task = find_glue_task(std::filesystem::absolute(path).parent_path().filename().string());
  if (!task) {
    std::vector<std::string> names;
    for (const GlueTask& one : glue_tasks()) names.push_back(one.name);
    fail("{}: the folder's name is no task of GLUE: expected TASK={}, with TASK one of {}", given, given,
         fmt::join(names, ", "));
  }
  return {given, task};
}

Task parse_task(std::string_view text, const TaskSource& source) {
  const bool standard = source.file == "-";
  Task task;
  task.file = standard ? "standard input" : source.file;
  refuse_lfs_pointer(text, task.file);
  if (source.glue) {
    task.name = source.glue->name;
    task.format = "GLUE";
    task.metric = source.glue->metric;
    task.items = parse_glue(text, *source.glue, task.file);
  } else {
    task.name = standard ? task.file : std::filesystem::path(source.file).filename().string();
    read_json_lines(text, task);
  }
  if (task.items.empty()) fail("{}: no items", task.file);
  return task;
}

}  // namespace whittle
