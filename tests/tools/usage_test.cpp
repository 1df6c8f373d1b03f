// Flags: what is wrong, void or mistyped, and what is said about it.

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <regex>

#include "tests/support/commands.h"
#include "tests/support/tiny_model.h"

namespace fs = std::filesystem;
using namespace whittle::test;
using nlohmann::json;

namespace {

// Wrong usage: exit code 2, nothing on standard output, and `part` in the message.
void check_usage(const std::vector<std::string>& arguments, const std::string& part) {
  INFO(json(arguments).dump());
  const Outcome outcome = run_whittle(arguments);
  INFO(outcome.err);
  CHECK(outcome.exit_code == 2);
  CHECK(outcome.out.empty());
  CHECK(has(outcome.err, part));
}

std::vector<std::string> generate_with(const std::vector<std::string>& more) {
  return with({"generate", reference_model(), "--prompt", "a", "--max-tokens", "1"}, more);
}

}  // namespace

TEST_CASE("A value out of a flag's range is wrong usage that names the flag") {
  const std::vector<std::pair<std::string, std::vector<std::string>>> values = {
      {"--temperature", {"-1", "nan", "inf", "x", ""}},
      {"--top-k", {"-1", "1.5", "99999999999999999999"}},
      {"--top-p", {"0", "1.1", "nan"}},
      {"--min-p", {"-0.1", "2", "nan"}},
      {"--repetition-penalty", {"0", "-1", "inf"}},
      {"--seed", {"-1", "x"}},
      {"--max-tokens", {"0", "-1"}},
      {"--stop", {""}},
      {"--context", {"-1"}},
      {"--kv-cache", {"int4", ""}},
      {"--json", {""}},
      {"--threads", {"-1", "100000", "two"}}};
  for (const auto& [flag, wrong] : values)
    for (const std::string& value : wrong) check_usage(generate_with({flag, value}), flag);
  const std::vector<std::pair<std::string, std::vector<std::string>>> of_drift = {
      {"--context", {"0", "1", "-5"}}, {"--characters", {"-1"}},
      {"--max-kl", {"nan", "-1"}},     {"--max-perplexity-increase", {"nan", "-1"}},
      {"--protocol", {"other"}},       {"--text", {""}}};
  for (const auto& [flag, wrong] : of_drift)
    for (const std::string& value : wrong) check_usage(with(drift_arguments(), {flag, value}), flag);
  const std::vector<std::pair<std::string, std::vector<std::string>>> of_bench = {
      {"--prompt-tokens", {"0", "", "8,", ",8", "8,,9", "8 9", "8,x", "1e3", "-1", "99999999999999999999"}},
      {"--gen-tokens", {"0", "1.5"}},
      {"--sequences", {"0", "1,2000", "2,1,2"}},
      {"--threads", {"1,-1", "two"}},
      {"--context", {"-1", "1,"}},
      {"--kv-cache", {"f16,", "f16,int4", "f16,f16", ""}},
      {"--goal", {"speed"}},
      {"--max-sequences", {"0"}},
      {"--max-itl-ms", {"0", "nan", "-1", "x"}}};
  for (const auto& [flag, wrong] : of_bench)
    for (const std::string& value : wrong) check_usage({"bench", reference_model(), flag, value}, flag);
  for (const std::string size : {"1.5X", "-1", "M", "", "nan", "inf", "1025T", "1MM", "iB", "1ib", " 1M",
                                 "1 M", "0x10", "1,5M", "1e400"})
    check_usage({"soak", reference_model(), "--max-growth", size}, "--max-growth");
  const TemporaryFolder folder;
  const std::string out = folder.path() / "out";
  check_usage({"quantize", reference_model(), out, "--memory", "1000"}, "--memory");
  check_usage({"quantize", reference_model(), out, "--exclude", "("}, "--exclude");
  check_usage({"quantize", reference_model(), out, "--exclude", ""}, "--exclude");
  check_usage({"quantize", reference_model(), out, "--weights", "int6", "--group-size", "channel"}, "int6");
  check_usage({"quantize", reference_model(), out, "--weights", "int4", "--group-size", "channel"},
              "--group-size");
  check_usage({"synthesize", "no-such-shape", out}, "tinyllama-1.1b");
  check_usage({"tokenize", reference_model(), "--decode", "--text", "abc"}, "--decode");
  check_usage({"tokenize", reference_model(), "--decode", "--text", "[-1]"}, "--decode");
  CHECK(fs::is_empty(folder.path()));
}

TEST_CASE("An empty name, as of a variable that is not set, is wrong usage") {
  const std::string model = reference_model();
  for (const auto& arguments :
       std::vector<std::vector<std::string>>{{"quantize", "", "out"},
                                             {"quantize", model, ""},
                                             {"export", "", "out"},
                                             {"export", model, ""},
                                             {"generate", "", "--prompt", "a"},
                                             {"generate", model, "--prompt-file", ""},
                                             {"generate", model, "--token-ids", ""},
                                             {"bench", ""},
                                             {"bench", model, "--baseline", ""},
                                             {"bench", model, "--baseline", model, "--text", ""},
                                             {"bench", model, "--trace", ""},
                                             {"bench", model, "--csv", ""},
                                             {"bench", model, "--markdown", ""},
                                             {"bench", model, "--prompts", ""},
                                             {"drift", "", "--baseline", model, "--text", story()},
                                             {"drift", model, "--baseline", "", "--text", story()},
                                             {"drift", model, "--baseline", model, "--token-ids", ""},
                                             {"tasks", "", "--tasks", "a"},
                                             {"tasks", model, "--tasks", ""},
                                             {"tokenize", "", "--text", "a"},
                                             {"tokenize", model, "--file", ""},
                                             {"inspect", ""},
                                             {"synthesize", "smollm-135m", ""},
                                             {"compare", "a", ""},
                                             {"report", "a", "--html", ""},
                                             {"machine", "--json", ""}})
    check_usage(arguments, "found \"\"");
}

TEST_CASE("A wrong --kv-cache is told the choices") {
  const Outcome outcome = run_whittle(generate_with({"--kv-cache", "int4"}));
  for (const char* choice : {"f16", "int8", "f32", "int4"}) CHECK(has(outcome.err, choice));
  for (const char c : outcome.err) CHECK((c == '\n' || (c >= ' ' && c < 0x7f)));
}

TEST_CASE("A flag that another one makes void is wrong usage") {
  const TemporaryFolder folder;
  const std::string out = folder.path() / "out";
  const std::vector<std::string> quantize = {"quantize", reference_model(), out, "--effort",
                                             "fast",     "--activations",   "32"};
  check_usage(with(quantize, {"--weights", "int4"}), "--activations");
  check_usage(with(quantize, {"--group-size", "64"}), "--activations");
  for (const char* flag : {"--top-k", "--top-p", "--min-p", "--seed"}) {
    check_usage(generate_with({flag, "1"}), flag);
    CHECK(run_whittle(generate_with({flag, "1", "--temperature", "0.5"})).exit_code == 0);
  }
  CHECK(run_whittle(generate_with({"--repetition-penalty", "1.5"})).exit_code == 0);
  for (const auto& [flag, value] : std::vector<std::pair<std::string, std::string>>{
           {"--context", "64"}, {"--characters", "9"}, {"--protocol", "windows"}})
    check_usage(
        {"drift", int8_model(), "--baseline", reference_model(), "--token-ids", "ids.json", flag, value},
        flag);
}

TEST_CASE("Flags of bench that do not go together are wrong usage") {
  const std::vector<std::string> bench = {"bench", reference_model()};
  check_usage(with(bench, {"--goal", "throughput"}), "--max-itl-ms");
  check_usage(with(bench, {"--max-itl-ms", "5"}), "--max-itl-ms");
  check_usage(with(bench, {"--goal", "latency", "--max-sequences", "5"}), "--max-sequences");
  const std::vector<std::string> throughput = with(bench, {"--goal", "throughput", "--max-itl-ms", "5"});
  for (const auto& more : std::vector<std::vector<std::string>>{
           {"--sequences", "2"}, {"--profile"}, {"--trace", "t.json"}, {"--prompts", "p.jsonl"}})
    check_usage(with(throughput, more), more.front());
  for (const char* flag : {"--prompt-tokens", "--sequences", "--context"})
    check_usage(with(bench, {"--prompts", "p.jsonl", flag, "2"}), flag);
  check_usage(with(bench, {"--end-to-end", "--model-only"}), "--model-only");
}

TEST_CASE("A mistyped command or flag is named, with the nearest one") {
  check_usage({"quantise", "a", "b"}, "\"quantise\"; did you mean quantize?");
  check_usage({"genrate", "a", "--prompt", "b"}, "did you mean generate?");
  check_usage({"xyzzy"}, "\"xyzzy\"");
  check_usage({"--verson"}, "did you mean --version?");
  check_usage({"quantize", "a", "b", "--wieghts", "int4"}, "\"--wieghts\"; did you mean --weights?");
  check_usage({"quantize", "--wieghts=int4", "a", "b"}, "\"--wieghts\"; did you mean --weights?");
  check_usage({"generate", "a", "--prompt-fil", "b"}, "did you mean --prompt-file?");
  check_usage({"generate", "a", "--prompt", "b", "--temp", "1"}, "did you mean --temperature?");
  check_usage({"--threads", "1", "machine"}, "\"--threads\" stands before the command");
  const Outcome far = run_whittle({"xyzzy"});
  CHECK_FALSE(has(far.err, "did you mean"));
}

TEST_CASE("A report that cannot be written is found out before the work, and nothing is left of it") {
  const TemporaryFolder folder;
  const std::string path = folder.path(), file = folder.path() / "file",
                    missing = folder.path() / "no" / "r.json";
  write_text(file, "kept");
  for (const std::string& report : {path, missing, file + "/r.json", path + "/" + std::string(300, 'x')}) {
    std::vector<std::vector<std::string>> runs = {with(bench_arguments(), {"--trace", report})};
    for (const auto& arguments : all_commands(folder.path() / "output"))
      for (const char* command : {"quantize", "generate", "bench", "drift", "tasks", "inspect", "machine"})
        if (arguments.front() == command) runs.push_back(with(arguments, {"--json", report}));
    fs::create_directory(folder.path() / "output");
    for (const auto& arguments : runs) {
      INFO(json(arguments).dump());
      const Outcome outcome = run_whittle(arguments);
      INFO(outcome.err);
      CHECK(outcome.exit_code == 1);
      CHECK(lines(outcome.err) == 1);
      CHECK(outcome.out.empty());  // generate prints its text as it comes
    }
    CHECK(fs::is_empty(folder.path() / "output"));
  }
  CHECK(read_text(file) == "kept");
  CHECK(std::distance(fs::directory_iterator(path), fs::directory_iterator()) == 2);
}

TEST_CASE("Two outputs of one name are wrong usage") {
  const TemporaryFolder folder;
  const std::string same = folder.path() / "same";
  check_usage({"quantize", reference_model(), same, "--json", same}, "--json");
  check_usage({"quantize", reference_model(), same + "/", "--json", folder.path() / "." / "same"}, "--json");
  check_usage(with(bench_arguments(), {"--json", same, "--trace", same}), "--trace");
  check_usage(with(bench_arguments(), {"--json", "-", "--trace", "-"}), "--trace");
  check_usage(with(bench_arguments(), {"--json", same, "--csv", same}), "--csv");
  check_usage(with(bench_arguments(), {"--csv", "-", "--markdown", "-"}), "--markdown");
  check_usage({"compare", "a", "b", "--json", same, "--markdown", same}, "--markdown");
  check_usage({"compare", same, "b", "--json", same}, "--json");
  check_usage({"report", "a", same, "--html", same}, "--html");
  CHECK(fs::is_empty(folder.path()));
}

TEST_CASE("A baseline that is quantized is an error") {
  for (const auto& arguments : std::vector<std::vector<std::string>>{
           {"drift", int8_model(), "--baseline", int8_model(), "--text", story()},
           {"tasks", int8_model(), "--baseline", int8_model(), "--tasks", quiz_file()},
           {"bench", reference_model(), "--baseline", int8_model()}}) {
    const Outcome outcome = run_whittle(arguments);
    INFO(outcome.err);
    CHECK(outcome.exit_code == 1);
    CHECK(lines(outcome.err) == 1);
    CHECK(has(outcome.err, "--baseline"));
  }
}

TEST_CASE("An --exclude that matches no module is an error") {
  const TemporaryFolder folder;
  const Outcome outcome = run_whittle({"quantize", reference_model(), folder.path() / "out", "--exclude",
                                       "down_proj", "--exclude", "dwon_proj", "--threads", "1"});
  CHECK(outcome.exit_code == 1);
  CHECK(has(outcome.err, "--exclude: "));
  CHECK(has(outcome.err, "\"dwon_proj\""));
  CHECK(fs::is_empty(folder.path()));
}

TEST_CASE("What a library finds wrong with an option names the flag") {
  const TemporaryFolder folder;
  const std::string text = folder.path() / "text.txt", out = folder.path() / "out";
  write_text(text, "Once");
  const std::vector<std::string> bench = {"bench",        int8_model(), "--prompt-tokens", "4",
                                          "--gen-tokens", "2",          "--threads",       "1"};
  for (const auto& [flag, arguments] : std::vector<std::pair<std::string, std::vector<std::string>>>{
           {"--context", with(drift_arguments(), {"--protocol", "llama.cpp", "--context", "2"})},
           {"--text", with(drift_arguments(), {"--text", text})},
           {"--text", with(bench, {"--baseline", reference_model(), "--text", text})},
           {"--prompt-tokens", with(bench, {"--prompt-tokens", "512", "--gen-tokens", "9"})},
           {"--prompt-tokens", with(bench, {"--context", "0,507"})},
           {"--exclude", {"quantize", reference_model(), out, "--exclude", "layers"}}}) {
    const Outcome outcome = run_whittle(arguments);
    INFO(outcome.err);
    CHECK(outcome.exit_code == 1);
    CHECK(outcome.out.empty());
    CHECK(outcome.err.starts_with("whittle: " + flag + ": "));
    CHECK(lines(outcome.err) == 1);
  }
}

TEST_CASE("Lengths of bench that were not asked for are cut to the context, and said") {
  const std::vector<std::string> once = {"bench", reference_model(), "--repeat", "1", "--json", "-"};
  const auto lengths = [](const Outcome& outcome) {
    INFO(outcome.err);
    REQUIRE(outcome.exit_code == 0);
    const json protocol = json::parse(outcome.out)["protocol"];
    return std::pair<int, int>(protocol["prompt_tokens"], protocol["gen_tokens"]);
  };
  const Outcome both = run_whittle(once);  // 512 + 128 in a context of 512
  CHECK(lengths(both) == std::pair(384, 128));
  CHECK(has(both.err, "384"));
  CHECK(lines(both.err) == 1);
  CHECK(lengths(run_whittle(with(once, {"--prompt-tokens", "500"}))) == std::pair(500, 12));
  CHECK(lengths(run_whittle(with(once, {"--gen-tokens", "8"}))) == std::pair(504, 8));
  CHECK(run_whittle(with(once, {"--prompt-tokens", "512"})).exit_code == 1);
  CHECK(run_whittle(with(once, {"--prompt-tokens", "500", "--gen-tokens", "128"})).exit_code == 1);
}

TEST_CASE("The version names a commit") {
  const Outcome version = run_whittle({"--version"});
  CHECK(std::regex_match(version.out,
                         std::regex("whittle [0-9.]+ \\(commit (unknown|[0-9a-f]{12,40}(-dirty)?)\\)\n")));
}
