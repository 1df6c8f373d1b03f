#pragma once
// Command lines of the program that work, for tests of what all of them do alike.

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/paths.h"
#include "tests/support/program.h"
#include "tests/support/tiny_model.h"

namespace whittle::test {

inline std::string story() { return reference_model() / "texts" / "story.txt"; }

// The reference model in INT8, made once and kept for all test cases of this process.
inline const std::string& int8_model() {
  static const TemporaryFolder folder;
  static const std::string path = [] {
    const std::string out = folder.path() / "int8";
    const Outcome made =
        run_whittle({"quantize", reference_model(), out, "--effort", "fast", "--threads", "1"});
    INFO(made.err);
    REQUIRE(made.exit_code == 0);
    return out;
  }();
  return path;
}

// A folder of one recipe that looks at no text, kept for all test cases of this process.
inline const std::string& fast_recipes() {
  static const TemporaryFolder folder;
  static const std::string path = [] {
    write_text(folder.path() / "int8.json", R"({"whittle_recipe": 1, "method": "rtn"})");
    return folder.path().string();
  }();
  return path;
}

inline std::vector<std::string> drift_arguments() {
  return {"drift", int8_model(), "--baseline", reference_model(), "--text", story(), "--characters",
          "600",   "--context",  "64",         "--threads",       "1"};
}

// Two questions, kept for all test cases of this process.
inline const std::string& quiz_file() {
  static const TemporaryFolder folder;
  static const std::string path = [] {
    write_text(folder.path() / "quiz.jsonl",
               R"({"context": "Once upon a", "choices": ["time", "table"], "answer": 0})"
               "\n"
               R"({"context": "The sky was", "choices": ["blue", "fast", "two"], "answer": 1})"
               "\n");
    return (folder.path() / "quiz.jsonl").string();
  }();
  return path;
}

inline std::vector<std::string> tasks_arguments() {
  return {"tasks", int8_model(), "--baseline", reference_model(), "--tasks", quiz_file(), "--threads", "1"};
}

inline std::vector<std::string> bench_arguments() {
  return {"bench",           int8_model(), "--baseline",   reference_model(),
          "--prompt-tokens", "32",         "--gen-tokens", "8",
          "--repeat",        "2",          "--threads",    "1"};
}

inline std::vector<std::string> with(std::vector<std::string> arguments,
                                     const std::vector<std::string>& more) {
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

inline int64_t lines(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

inline bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// An outcome that must be a success, with two threads.
inline Outcome succeed(std::vector<std::string> arguments) {
  arguments.insert(arguments.end(), {"--threads", "2"});
  INFO(nlohmann::json(arguments).dump());
  Outcome outcome = run_whittle(arguments);
  INFO(outcome.err);
  CHECK(outcome.exit_code == 0);
  return outcome;
}

// Reports of two models on one text, kept for all test cases of this process.
inline const std::vector<std::string>& two_reports() {
  static const TemporaryFolder folder;
  static const std::vector<std::string> paths = [] {
    std::vector<std::string> made;
    for (const std::string& model : {int8_model(), reference_model().string()}) {
      made.push_back(folder.path() / (std::to_string(made.size()) + ".json"));
      std::vector<std::string> arguments =
          with(drift_arguments(), {"--characters", "3000", "--json", made.back()});
      arguments[1] = model;
      const Outcome outcome = run_whittle(arguments);
      INFO(outcome.err);
      REQUIRE(outcome.exit_code == 0);
    }
    return made;
  }();
  return paths;
}

// A run of every subcommand, each of which prints something; folders and files are written into `folder`.
inline std::vector<std::vector<std::string>> all_commands(const std::filesystem::path& folder) {
  return {{"quantize", reference_model(), folder / "int8", "--effort", "fast", "--threads", "1"},
          {"prune", reference_model(), folder / "short", "--drop-kv-heads", "1", "--no-fit", "--calibration",
           story(), "--calibration-tokens", "512", "--threads", "1"},
          {"frontier", reference_model(), "--recipes", fast_recipes(), "--text", story(), "--html",
           folder / "frontier.html", "--threads", "1"},
          {"export", reference_model(), folder / "model.gguf", "--threads", "1"},
          {"generate", int8_model(), "--prompt", "Once", "--max-tokens", "3", "--threads", "1"},
          bench_arguments(),
          drift_arguments(),
          {"gate", int8_model(), "--baseline", reference_model(), "--text", story(), "--characters", "600",
           "--context", "64", "--threads", "1", "--store", folder / "gate.json"},
          tasks_arguments(),
          {"tokenize", reference_model(), "--text", "Once"},
          {"inspect", int8_model(), "--threads", "1"},
          {"machine", "--threads", "1"},
          {"synthesize", "smollm-135m", folder / "random", "--threads", "1"},
          {"estimate", "smollm-135m", "--memory-only", "--threads", "1"},
          {"soak", int8_model(), "--minutes", "0", "--threads", "1"},
          {"compare", two_reports()[0], two_reports()[1]},
          {"report", two_reports()[0], "--html", folder / "report.html"},
          {"completion", "bash"}};
}

}  // namespace whittle::test
