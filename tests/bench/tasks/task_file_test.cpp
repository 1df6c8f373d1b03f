#include "bench/tasks/task_file.h"

#include <catch2/catch.hpp>

#include "bench/tasks/text_lines.h"
#include "kernels/error.h"

using namespace whittle;

namespace {

Task parse(const std::string& text) { return parse_task(text, {"quiz.jsonl"}); }

void check_refused(const std::string& text, const std::vector<std::string>& names) {
  INFO(text.substr(0, 200));
  try {
    parse(text);
    FAIL_CHECK("it was read");
  } catch (const Error& error) {
    const std::string message = error.what();
    INFO(message);
    CHECK(message.size() < 1000);
    CHECK_THAT(message, Catch::StartsWith("quiz.jsonl"));
    for (const std::string& name : names) CHECK_THAT(message, Catch::Contains(name));
  }
}

}  // namespace

TEST_CASE("Multiple choice is read by any of its fields' names, in the order that is documented") {
  for (const char* context : {"context", "query", "question"})
    for (const char* answer : {"answer", "gold", "label"}) {
      const Task task = parse(std::string("{\"") + context + R"(": "A b ", "choices": ["x", "yz", "w"], ")" +
                              answer + "\": 2, \"id\": [7]}\n");
      CHECK(task.name == "quiz.jsonl");
      CHECK(task.format == "multiple choice");
      CHECK(task.scoring == Scoring::choices);
      REQUIRE(task.items.size() == 1);
      CHECK(task.items[0].context == "A b ");
      CHECK(task.items[0].choices == std::vector<std::string>{"x", "yz", "w"});
      CHECK(task.items[0].answer == 2);
    }
  const Task both = parse(
      R"({"question": "a", "query": "b", "label": 0, "gold": 1, "answer": null, "choices": ["c", "d"]})");
  CHECK(both.items[0].context == "b");
  CHECK(both.items[0].answer == 1);
}

TEST_CASE("Items keep the number of their line, past blank lines, carriage returns and a byte order mark") {
  const Task task = parse("\xEF\xBB\xBF{\"text\": \"a b\"}\r\n\r\n \t\n{\"text\": \"c d e\"}");
  CHECK(task.format == "LAMBADA");
  CHECK(task.scoring == Scoring::last_word);
  REQUIRE(task.items.size() == 2);
  CHECK(task.items[0].line == 1);
  CHECK(task.items[1].line == 4);
  CHECK(task.items[1].context == "c d");
  CHECK(task.items[1].choices == std::vector<std::string>{"e"});
  CHECK(parse_task("{\"text\": \"a b\"}", {"-"}).file == "standard input");
}

TEST_CASE("Exact match takes one line of text, trimmed") {
  const Task task = parse(R"({"prompt": "2 + 2 =", "answer": " 4\n", "text": "no LAMBADA"})");
  CHECK(task.scoring == Scoring::exact_match);
  CHECK(task.items[0].context == "2 + 2 =");
  CHECK(task.items[0].choices == std::vector<std::string>{"4"});
}

TEST_CASE("Classification fills a template and takes an index or a label") {
  const std::string header = R"({"template": "{a} {{and}} {b}:", "labels": ["bad", "good"], "metric": "f1"})";
  const Task task = parse(header + "\n" + R"({"a": "x", "b": "{a}", "label": 1})" + "\n" +
                          R"({"b": "y", "a": "z", "label": "bad"})");
  CHECK(task.format == "classification");
  CHECK(task.metric == ClassMetric::f1);
  REQUIRE(task.items.size() == 2);
  CHECK(task.items[0].context == "x {and} {a}:");  // what was filled in is not filled again
  CHECK(task.items[0].line == 2);
  CHECK(task.items[0].answer == 1);
  CHECK(task.items[1].context == "z {and} y:");
  CHECK(task.items[1].answer == 0);
  CHECK(task.items[1].choices == std::vector<std::string>{"bad", "good"});
}

TEST_CASE("What is wrong with a file of questions is one error with file, line and field") {
  const std::string good = R"({"context": "a", "choices": ["b", "c"], "answer": 0})";
  const std::string header = R"({"template": "{s}", "labels": ["b", "g"]})";
  check_refused("", {"no items"});
  check_refused("\n\n \n", {"no items"});
  check_refused(header, {"no items"});
  check_refused("[1]", {"line 1", "object"});
  check_refused("null", {"line 1", "object"});
  check_refused("{\"context\": \"a", {"line 1", "JSON"});
  check_refused(good + "\n" + good.substr(0, 30), {"line 2", "JSON"});
  check_refused(good + "\n\n{\"context\": \"\xff\"}", {"line 3", "JSON"});
  check_refused(good + "\n{\"a\": 1, \"a\": 2}", {"line 2", "twice"});
  check_refused(std::string(100000, '['), {"line 1", "nested"});
  check_refused("{}", {"line 1", "choices", "template", "prompt", "text"});
  check_refused("{\"choices\": null}", {"line 1", "template"});
  check_refused(good + "\n{}", {"line 2", "context"});
  check_refused(good + "\n{\"text\": \"a b\"}", {"line 2", "context"});
  const auto item = [](const std::string& choices, const std::string& answer) {
    return "{\"context\": \"a\", \"choices\": " + choices + ", \"answer\": " + answer + "}";
  };
  check_refused(item("[]", "0"), {"line 1", "choices", "0"});
  check_refused(item("[\"a\"]", "0"), {"line 1", "choices", "1"});
  check_refused(item("\"ab\"", "0"), {"line 1", "choices"});
  check_refused(item("[\"a\", 1]", "0"), {"line 1", "choices", "element 1"});
  check_refused(item("[\"a\", \"\"]", "0"), {"line 1", "choices", "element 1"});
  check_refused(item("[\"a\", [\"b\"]]", "0"), {"line 1", "choices", "element 1"});
  for (const char* answer : {"2", "-1", "1.0", "0.5", "\"0\"", "[0]", "true", "1e3", "9223372036854775808",
                             "99999999999999999999999"})
    check_refused(item("[\"a\", \"b\"]", answer), {"line 1", "answer", "0 to 1"});
  check_refused(item("[\"a\", \"b\"]", "null"), {"line 1", "answer"});
  check_refused(R"({"context": 1, "choices": ["a", "b"], "answer": 0})", {"line 1", "context"});
  for (const char* text : {"\"\"", "\"a\"", "\" a\"", "\"a \"", "3", "[]"})
    check_refused(std::string("{\"text\": ") + text + "}", {"line 1", "text"});
  check_refused(R"({"prompt": "a"})", {"line 1", "answer"});
  check_refused(R"({"prompt": "", "answer": "b"})", {"line 1", "prompt"});
  check_refused(R"({"prompt": "a", "answer": " \n"})", {"line 1", "answer"});
  check_refused(R"({"prompt": "a", "answer": "b\nc"})", {"line 1", "answer", "one line"});
  const auto classified = [&](const std::string& prompt, const std::string& labels,
                              const std::string& metric) {
    return "{\"template\": " + prompt + ", \"labels\": " + labels + ", \"metric\": " + metric +
           "}\n{\"s\": \"x\", \"label\": 0}";
  };
  for (const char* prompt : {"\"\"", "\"a\"", "\"{s\"", "\"s}\"", "\"{}\"", "\"{s{t}}\"", "4", "null"})
    check_refused(classified(prompt, "[\"b\", \"g\"]", "null"), {"line 1", "template"});
  check_refused(classified("\"{t}\"", "[\"b\", \"g\"]", "null"), {"line 2", "\"t\""});
  check_refused(classified("\"{s}\"", "[\"b\"]", "null"), {"line 1", "labels"});
  check_refused(classified("\"{s}\"", "[\"b\", \"g\"]", "\"bleu\""), {"line 1", "metric", "bleu"});
  check_refused(classified("\"{s}\"", "[\"b\", \"g\", \"m\"]", "\"f1\""), {"line 1", "metric", "3"});
  check_refused(header + "\n{\"s\": \"x\", \"label\": 2}", {"line 2", "label"});
  check_refused(header + "\n{\"s\": \"x\", \"label\": \"q\"}", {"line 2", "label", "\"q\""});
  check_refused(header + "\n{\"s\": 3, \"label\": 0}", {"line 2", "\"s\""});
  check_refused(header + "\n{\"label\": 0}", {"line 2", "\"s\"", "missing"});
  check_refused("version https://git-lfs.github.com/spec/v1\n", {"git-lfs"});
}

TEST_CASE("A task of GLUE is named before the file, or by its folder") {
  CHECK(task_source("sst-2=a/b.tsv").glue == find_glue_task("SST-2"));
  CHECK(task_source("sst-2=a/b.tsv").file == "a/b.tsv");
  CHECK(task_source("MRPC=-").file == "-");
  CHECK(task_source("x/SST-2/dev.tsv").glue == find_glue_task("sst2"));
  CHECK(task_source("CoLA/dev.tsv").glue->name == "CoLA");
  CHECK(task_source("a=b.jsonl").file == "a=b.jsonl");
  CHECK(task_source("a=b.jsonl").glue == nullptr);
  CHECK(task_source("-").glue == nullptr);
  CHECK_THROWS_WITH(task_source("quiz/dev.tsv"), Catch::Contains("quiz/dev.tsv") && Catch::Contains("SST-2"));
  CHECK_THROWS_AS(task_source("dev.tsv"), Error);
}

TEST_CASE("White space is Unicode's, and is cut from the ends alone") {
  CHECK(trimmed(" \t\n a b \xC2\xA0\xE3\x80\x80\r\n") == "a b");
  CHECK(trimmed_end(" a\xE2\x80\x83") == " a");
  CHECK(trimmed("é").size() == 2);
  CHECK(trimmed(" \n").empty());
  CHECK(trimmed("").empty());
}
