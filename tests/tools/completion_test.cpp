// The script for bash, made from the commands' own declarations, against what their help says.

#include <catch2/catch.hpp>
#include <regex>
#include <set>

#include "tests/support/commands.h"
#include "tests/support/tiny_model.h"

using namespace whittle::test;

namespace {

// What bash offers for the last of these words.
std::set<std::string> offered(const std::string& script, const std::vector<std::string>& words) {
  std::string line;
  for (const std::string& word : words) line += " '" + word + "'";
  const Outcome bash =
      run({"bash", "-c",
           "source \"$1\"; COMP_WORDS=(whittle" + line + "); COMP_CWORD=" + std::to_string(words.size()) +
               "; _whittle; printf '%s\\n' \"${COMPREPLY[@]}\"",
           "bash", script});
  INFO(bash.err);
  REQUIRE(bash.exit_code == 0);
  std::set<std::string> found;
  std::istringstream lines(bash.out);
  for (std::string word; std::getline(lines, word);)
    if (!word.empty()) found.insert(word);
  return found;
}

// The first words of help's lines that match.
std::set<std::string> in_help(const std::vector<std::string>& arguments, const char* pattern) {
  std::istringstream help(run_whittle(arguments).out);
  std::set<std::string> found;
  std::smatch match;
  for (std::string line; std::getline(help, line);)
    if (std::regex_search(line, match, std::regex(pattern))) found.insert(match[1]);
  return found;
}

constexpr const char* flag = "^ +(?:-., ?)?(--[a-z-]+)";

}  // namespace

TEST_CASE("Completion for bash knows every command, every flag and the values of those that list them") {
  const TemporaryFolder folder;
  const std::string script = folder.path() / "whittle.bash";
  const Outcome made = run_whittle({"completion", "bash"});
  REQUIRE(made.exit_code == 0);
  write_text(script, made.out);

  std::set<std::string> commands = in_help({"--help"}, "^  ([a-z]+) ");
  CHECK(commands.size() >= 10);
  std::set<std::string> first = commands;
  first.merge(in_help({"--help"}, flag));
  CHECK(offered(script, {""}) == first);
  for (const std::string& command : commands) {
    INFO(command);
    const std::set<std::string> flags = in_help({command, "--help"}, flag);
    CHECK(flags.count("--help") == 1);
    CHECK(offered(script, {command, "--"}) == flags);
    CHECK(offered(script, {command, "model", "--"}) == flags);
  }
  using Words = std::set<std::string>;
  CHECK(offered(script, {"quantize", "a", "b", "--weights", ""}) == Words{"int4", "int5", "int6", "int8"});
  CHECK(offered(script, {"quantize", "--group-size", ""}) == Words{"32", "64", "128", "channel"});
  CHECK(offered(script, {"bench", "--kv-cache", "f"}) == Words{"f32", "f16"});
  CHECK(offered(script, {"drift", "--text", ""}).empty());  // bash then offers files
  CHECK(offered(script, {"inspect", ""}).empty());
  CHECK(offered(script, {"synthesize", "tiny"}) == Words{"tinyllama-1.1b"});
  CHECK(offered(script, {"bench", "--pro"}) == Words{"--profile", "--prompt-tokens", "--prompts"});
}
