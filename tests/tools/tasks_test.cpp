// `whittle tasks` from outside: files, gates and flags.

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "tests/support/commands.h"
#include "tests/support/reports.h"
#include "tests/support/tiny_model.h"
#include "tests/support/tokenizer_files.h"

using namespace whittle::test;
using nlohmann::json;

namespace {

// A model, one with other layers, and questions that the first answers right.
struct Quiz {
  TemporaryFolder folder;
  std::string baseline = folder.path() / "baseline", model = folder.path() / "model",
              file = folder.path() / "quiz.jsonl";

  Quiz() {
    const TinyModel tiny = {.vocab_size = 48};
    for (const std::string& path : {baseline, model}) {
      std::filesystem::create_directory(path);
      write_tiny_model(path, tiny);
      write_text(path + "/tokenizer.json", letter_tokenizer(true).dump());
    }
    TinyModel other = tiny;
    other.seed = 2;
    std::vector<RawTensor> tensors = tensors_of(tiny), others = tensors_of(other);
    for (size_t i = 0; i < tensors.size(); ++i)
      if (has(tensors[i].name, "_proj")) tensors[i] = others[i];
    write_safetensors(model + "/model.safetensors", tensors);
    std::string text;
    for (int i = 0; i < 60; ++i)
      text += json{{"context", std::string(1, static_cast<char>('a' + i % 26)) + (i < 26 ? "th" : "re x")},
                   {"choices", {"c", "f", "g", "q"}},  // of two tokens each
                   {"answer", 0}}
                  .dump() +
              "\n";
    write_text(file, text);
    const json first = tasks({"--json", "-"}, baseline);
    std::string answered;
    std::istringstream lines(text);
    size_t i = 0;
    for (std::string line; std::getline(lines, line); ++i) {
      json item = json::parse(line);
      item["answer"] = first["tasks"][0]["items"][i]["model"]["chosen"];
      answered += item.dump() + "\n";
    }
    write_text(file, answered);
  }

  Outcome run(const std::vector<std::string>& more, const std::string& judged) const {
    return run_whittle(with({"tasks", judged, "--tasks", file, "--threads", "1"}, more));
  }
  json tasks(const std::vector<std::string>& more, const std::string& judged) const {
    const Outcome outcome = run(more, judged);
    INFO(outcome.err);
    REQUIRE(outcome.exit_code == 0);
    return parse_report(outcome.out);
  }
};

}  // namespace

TEST_CASE("Answers are compared with a baseline's, and a gate says how much accuracy may be lost") {
  const Quiz quiz;
  const json report = quiz.tasks({"--baseline", quiz.baseline, "--json", "-"}, quiz.model);
  CHECK(report["schema"] == "whittle.tasks");
  const json& task = report["tasks"][0];
  CHECK(task["baseline"]["accuracy_percent"] == 100);
  const double lost = task["comparison"]["loss_points"].get<double>();
  CHECK(lost > 10);
  CHECK(task["comparison"]["right_to_wrong"] == task["comparison"]["flips"].size());
  const auto judged = [&](double limit) {
    const std::vector<std::string> gate = {"--baseline", quiz.baseline, "--max-loss", std::to_string(limit)};
    const Outcome text = quiz.run(gate, quiz.model);
    const Outcome as_json = quiz.run(with(gate, {"--json", "-"}), quiz.model);
    CHECK(text.exit_code == as_json.exit_code);
    CHECK(text.err == as_json.err);
    const std::string verdict = json::parse(as_json.out)["tasks"][0]["gate"]["verdict"];
    CHECK(has(text.out, "gate " + verdict));
    CHECK((verdict == "kept") == text.err.empty());
    return std::pair(verdict, text.exit_code);
  };
  const double low = task["comparison"]["loss_points_ci95"][0].get<double>();
  CHECK(judged(100) == std::pair(std::string("kept"), 0));
  CHECK(judged(lost + 0.01) == std::pair(std::string("undecided"), 0));
  CHECK(judged(lost - 0.01) == std::pair(std::string("undecided"), 3));
  REQUIRE(low > 0.02);
  CHECK(judged(low - 0.01) == std::pair(std::string("exceeded"), 3));
  const Outcome itself =
      quiz.run({"--baseline", quiz.baseline, "--kv-cache", "f32", "--max-loss", "50"}, quiz.baseline);
  CHECK(itself.exit_code == 0);
  CHECK(itself.err.empty());
}

TEST_CASE("Several files are several tasks, from standard input too, and GLUE's by name") {
  const Quiz quiz;
  const std::string words = quiz.folder.path() / "words.jsonl", tsv = quiz.folder.path() / "dev.tsv";
  write_text(words, R"({"text": "a b c"})");
  write_text(tsv, "sentence\tlabel\na film\t0\nthe gem\t1\n");
  const Outcome two = run_whittle(
      {"tasks", quiz.model, "--tasks", words, "-", "--threads", "1", "--json", "-"}, {.in = quiz.file});
  INFO(two.err);
  REQUIRE(two.exit_code == 0);
  const json tasks = parse_report(two.out)["tasks"];
  REQUIRE(tasks.size() == 2);
  CHECK(tasks[0]["format"] == "LAMBADA");
  CHECK(tasks[1]["file"] == "standard input");
  CHECK(tasks[1]["count"] == 60);

  const std::string reference = reference_model();
  const Outcome glue = run_whittle({"tasks", reference, "--tasks", "sst-2=" + tsv, "--threads", "1"});
  INFO(glue.err);
  CHECK(glue.exit_code == 0);
  CHECK(has(glue.out, "SST-2"));
  const Outcome unnamed = run_whittle({"tasks", reference, "--tasks", tsv});
  CHECK(unnamed.exit_code == 1);
  CHECK(lines(unnamed.err) == 1);
  CHECK(has(unnamed.err, "SST-2"));
}

TEST_CASE("What cannot be asked is one line that names file and line, before a model runs") {
  const Quiz quiz;
  const std::string file = quiz.folder.path() / "bad.jsonl";
  const auto refused = [&](const std::string& text, const std::string& part,
                           const std::vector<std::string>& more = {}) {
    write_text(file, text);
    const Outcome outcome =
        run_whittle(with({"tasks", quiz.model, "--threads", "1", "--tasks", quiz.file, file}, more));
    INFO(outcome.err);
    CHECK(outcome.exit_code == 1);
    CHECK(outcome.out.empty());
    CHECK(lines(outcome.err) == 1);
    CHECK(has(outcome.err, part));
  };
  refused("", "no items");
  refused("{\"text\": \"a b\"}\nnonsense\x1b[2J\n", "line 2");
  refused("{\"text\": \"a b\"}\n{\"text\": \"a b\xff\"}\n", "line 2");
  refused(std::string(1 << 20, '{'), "line 1");
  refused(std::string("\0\0\0", 3), "line 1");
  refused("{\"text\": \"a b\"}\n", "--shots", {"--shots", "1"});
  refused("{\"text\": \"a b\"}\n", "absent", {"--baseline", quiz.folder.path() / "absent"});
  refused("{\"text\": \"a b\"}\n", "quiz.jsonl: line 1", {"--context", "1", "--batch", "1", "--limit", "1"});
  const Outcome absent = run_whittle({"tasks", quiz.model, "--tasks", quiz.folder.path() / "absent.jsonl"});
  CHECK(absent.exit_code == 1);
  CHECK(has(absent.err, "absent.jsonl"));
  const Outcome directory = run_whittle({"tasks", quiz.model, "--tasks", quiz.folder.path()});
  CHECK(directory.exit_code == 1);
  CHECK(lines(directory.err) == 1);
}

TEST_CASE("Wrong flags of tasks are wrong usage") {
  const Quiz quiz;
  for (const auto& more :
       std::vector<std::vector<std::string>>{{"--max-loss", "1"},
                                             {"--shots", "-1"},
                                             {"--limit", "-1"},
                                             {"--context", "-1"},
                                             {"--batch", "0"},
                                             {"--tasks", ""},
                                             {"--baseline", quiz.baseline, "--max-loss", "nan"},
                                             {"--baseline", quiz.baseline, "--max-loss", "-1"},
                                             {"--baseline", ""}}) {
    INFO(json(more).dump());
    const Outcome outcome = quiz.run(more, quiz.model);
    INFO(outcome.err);
    CHECK(outcome.exit_code == 2);
    CHECK(outcome.out.empty());
    CHECK(has(outcome.err, more[more.size() - 2]));
  }
  CHECK(run_whittle({"tasks", quiz.model}).exit_code == 2);
}
