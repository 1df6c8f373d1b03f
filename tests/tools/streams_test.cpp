// Standard input is read where asked for, and output that is lost is a failure.

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "tests/support/commands.h"
#include "tests/support/tiny_model.h"

namespace fs = std::filesystem;
using namespace whittle::test;
using nlohmann::json;

TEST_CASE("Output that does not fit on the disk is exit code 1 and one line, for every command") {
  const TemporaryFolder folder;
  std::vector<std::vector<std::string>> runs = all_commands(folder.path());
  for (const char* command : {"drift", "bench", "inspect", "machine", "compare"})
    for (auto arguments : all_commands(folder.path()))
      if (arguments.front() == command) runs.push_back(with(arguments, {"--json", "-"}));
  runs.insert(runs.end(), {{"--help"}, {"--version"}, {"drift", "--help"}});
  for (const auto& arguments : runs) {
    INFO(json(arguments).dump());
    const Outcome outcome = run_whittle(arguments, {.out = "/dev/full"});
    INFO(outcome.err);
    CHECK(outcome.exit_code == 1);
    CHECK(lines(outcome.err) == 1);
    CHECK(has(outcome.err, "standard output: cannot write"));
  }
}

TEST_CASE("A gate that is exceeded says so also where the report is lost") {
  const Outcome outcome = run_whittle(with(drift_arguments(), {"--max-kl", "0"}), {.out = "/dev/full"});
  CHECK(outcome.exit_code == 3);
  CHECK(has(outcome.err, "KL"));
  CHECK(has(outcome.err, "standard output: cannot write"));
}

TEST_CASE("A closed standard output is a failure, and no file takes its place") {
  const TemporaryFolder folder;
  const auto closed = [](const std::vector<std::string>& arguments) {
    return run(with({"sh", "-c", "\"$@\" >&-", "sh"}, whittle_command(arguments)));
  };
  for (const auto& arguments : all_commands(folder.path())) {
    if (arguments.front() == "synthesize") continue;
    INFO(json(arguments).dump());
    CHECK(closed(arguments).exit_code == 1);
  }
  // What was written to a file is as it should be.
  CHECK(read_text(folder.path() / "int8" / "model.safetensors") ==
        read_text(fs::path(int8_model()) / "model.safetensors"));
}

TEST_CASE("A reader that goes away ends a command with an exit code that is not 0") {
  for (const char* ignored : {"", "trap '' PIPE; "}) {
    const Outcome outcome = run({"bash", "-c", std::string("set -o pipefail; ") + ignored + "\"$@\" | true",
                                 "bash", WHITTLE_PROGRAM, "generate", reference_model(), "--prompt", "Once",
                                 "--max-tokens", "200", "--threads", "1"});
    INFO(outcome.err);
    CHECK(outcome.exit_code != 0);
    CHECK(outcome.exit_code != -1);
  }
}

TEST_CASE("A dash is standard input for every flag that names a text") {
  const TemporaryFolder folder;
  const std::string ids = folder.path() / "ids.json", prompt = folder.path() / "prompt.txt",
                    windows = folder.path() / "windows.json";
  write_text(prompt, "Once upon a time");
  write_text(ids, "[1, 5, 6]");
  write_text(windows, "[[1, 5, 6, 7], [1, 8, 9, 10]]");
  const auto replaced = [](std::vector<std::string> arguments, const std::string& path) {
    std::replace(arguments.begin(), arguments.end(), path, std::string("-"));
    return arguments;
  };
  const std::vector<std::pair<std::string, std::vector<std::string>>> runs = {
      {prompt, {"generate", int8_model(), "--prompt-file", prompt, "--max-tokens", "4"}},
      {ids, {"generate", int8_model(), "--token-ids", ids, "--max-tokens", "4"}},
      {prompt, {"tokenize", reference_model(), "--file", prompt}},
      {ids, {"tokenize", reference_model(), "--decode", "--file", ids}},
      {windows, {"drift", int8_model(), "--baseline", reference_model(), "--token-ids", windows}},
      {story(), drift_arguments()}};
  for (const auto& [path, arguments] : runs) {
    INFO(json(arguments).dump());
    const Outcome named = run_whittle(arguments);
    const Outcome piped = run_whittle(replaced(arguments, path), {.in = path});
    INFO(piped.err);
    CHECK(named.exit_code == 0);
    CHECK(piped.exit_code == 0);
    CHECK(piped.out == named.out);
  }
  const Outcome bench = run_whittle(with(bench_arguments(), {"--text", "-", "--json", "-"}), {.in = story()});
  CHECK(json::parse(bench.out)["models"][1]["drift"]["kl"]["mean"] > 0);
}

TEST_CASE("A text that cannot be read is one line that says why") {
  const TemporaryFolder folder;
  const std::string path = folder.path(), absent = folder.path() / "absent";
  for (const std::string& text : {path, absent})
    for (const auto& arguments : std::vector<std::vector<std::string>>{
             {"generate", int8_model(), "--prompt-file", text},
             {"generate", int8_model(), "--token-ids", text},
             {"tokenize", reference_model(), "--file", text},
             {"bench", int8_model(), "--baseline", reference_model(), "--text", text},
             {"drift", int8_model(), "--baseline", reference_model(), "--text", text},
             {"drift", int8_model(), "--baseline", reference_model(), "--token-ids", text}}) {
      INFO(json(arguments).dump());
      const Outcome outcome = run_whittle(arguments);
      INFO(outcome.err);
      CHECK(outcome.exit_code == 1);
      CHECK(lines(outcome.err) == 1);
      CHECK(has(outcome.err, text));
    }
}
