// GPT-2 and BLOOM folders through every command, without a tokenizer.

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "tests/support/commands.h"
#include "tests/support/tiny_families.h"

using namespace whittle::test;
using nlohmann::json;

TEST_CASE("GPT-2 and BLOOM are quantized, run, judged, timed, inspected and exported") {
  for (const bool gpt2 : {true, false}) {
    const TemporaryFolder folder;
    const std::string source = write_family(folder.path() / "float", {.gpt2 = gpt2, .masks = gpt2});
    const std::string ids = folder.path() / "ids.json", windows = folder.path() / "windows.json";
    write_text(ids, "[3, 70, 0, 12, 5]");
    write_text(windows, "[[3, 70, 0, 12, 5, 9, 9, 1], [7, 1, 4]]");
    const std::vector<std::vector<std::string>> choices = {
        {},
        {"--activations", "32"},
        {"--weights", "int4", "--group-size", "32", "--asymmetric"},
        {"--weights", "int4", "--group-size", "32", "--lm-head", "int8", "--embedding", "int8"},
        {"--lm-head", "int8", "--exclude", "h\\.0\\."}};
    for (size_t i = 0; i < choices.size(); ++i) {
      const std::string out = folder.path() / std::to_string(i);
      const Outcome made = succeed(with({"quantize", source, out, "--effort", "fast"}, choices[i]));
      CHECK(has(made.err, "Conv1D") == gpt2);
      succeed({"generate", out, "--token-ids", ids, "--max-tokens", "4"});
      const json drift = json::parse(
          succeed({"drift", out, "--baseline", source, "--token-ids", windows, "--json", "-"}).out);
      CHECK(drift["kl"]["mean"].get<double>() > 0);
      CHECK(drift["kl"]["mean"].get<double>() < 1);
      CHECK(has(succeed({"inspect", out}).out, gpt2 ? "gpt2" : "bloom"));
      succeed({"export", out, out + ".gguf"});
      succeed({"export", out, out + ".q8.gguf", "--type", "q8_0"});
    }
    const Outcome bench = succeed({"bench", folder.path() / "0", folder.path() / "2", "--baseline", source,
                                   "--prompt-tokens", "16", "--gen-tokens", "4", "--repeat", "2"});
    CHECK(has(bench.out, "decode"));
  }
}

TEST_CASE("More positions than GPT-2's table has are one error") {
  const TemporaryFolder folder;
  const std::string source = write_family(folder.path() / "float", {.positions = 12});
  const std::string ids = folder.path() / "ids.json", windows = folder.path() / "windows.json";
  write_text(ids, "[3, 70, 0, 12, 5]");
  write_text(windows, "[[3, 70, 0, 12, 5, 9, 9, 1, 1, 1, 1, 1, 2]]");
  const std::vector<std::vector<std::string>> commands = {
      {"generate", source, "--token-ids", ids, "--context", "13"},
      {"inspect", source, "--context", "13"},
      {"drift", source, "--baseline", source, "--token-ids", windows},
      {"bench", source, "--prompt-tokens", "12", "--gen-tokens", "1"}};
  for (const std::vector<std::string>& command : commands) {
    const Outcome outcome = run_whittle(command);
    INFO(command[0] << outcome.err);
    CHECK(outcome.exit_code == 1);
    CHECK(outcome.out.empty());
    CHECK(lines(outcome.err) == 1);
    CHECK(has(outcome.err, "max_position_embeddings"));
  }
}
