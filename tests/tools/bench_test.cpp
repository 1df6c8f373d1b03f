// `whittle bench` from outside: quantized models, the child that reports its memory, exit codes.

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <nlohmann/json.hpp>

#include "bench/memory.h"
#include "bench/peers/peer.h"
#include "tests/support/paths.h"
#include "tests/support/reports.h"
#include "tests/support/tiny_model.h"

using namespace whittle;
using test::reference_model;

namespace {

std::vector<std::string> whittle_words(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), WHITTLE_PROGRAM);
  return arguments;
}

ChildReport run_whittle(const std::vector<std::string>& arguments) {
  return run_child(whittle_words(arguments));
}

}  // namespace

TEST_CASE("bench compares quantized models with their baseline in speed, memory and drift") {
  const test::TemporaryFolder folder;
  const std::string int8 = folder.path() / "int8", int4 = folder.path() / "int4",
                    baseline = reference_model();
  REQUIRE(run_whittle({"quantize", baseline, int8, "--effort", "fast", "--weights", "int8"}).exit_code == 0);
  REQUIRE(
      run_whittle({"quantize", baseline, int4, "--effort", "fast", "--weights", "int4", "--group-size", "32"})
          .exit_code == 0);
  const ChildReport report = run_whittle(
      {"bench", int8, int4, "--baseline", baseline, "--text", reference_model() / "texts" / "story.txt",
       "--prompt-tokens", "24", "--gen-tokens", "4", "--repeat", "2", "--kv-cache", "int8", "--json", "-"});
  REQUIRE(report.exit_code == 0);
  const nlohmann::json json = test::parse_report(report.output);
  CHECK(json["protocol"]["kv_cache"] == "int8");
  REQUIRE(json["models"].size() == 3);
  const nlohmann::json &first = json["models"][0], &second = json["models"][1], &third = json["models"][2];
  CHECK(first["is_baseline"] == true);
  CHECK(second["name"] == "int8");
  CHECK(third["name"] == "int4");

  // 86 % of the weights are linears; the rest stays at 16 bits. Scales, norms and shapes count.
  CHECK(first["bits_per_weight"].get<double>() == 16.0);
  const double matrices = 1 - 4096.0 * 256 / first["weights"].get<double>();
  CHECK(second["bits_per_weight"].get<double>() == Approx(16 - 8 * matrices).margin(0.15));
  CHECK(third["bits_per_weight"].get<double>() == Approx(16 - 11.5 * matrices).margin(0.15));
  CHECK(second["weights"] == first["weights"]);
  CHECK(third["weights"] == first["weights"]);

  CHECK(first["prefill_int8_fraction"].is_null());
  CHECK(first["prefill_fp32_fraction"].get<double>() > 0);
  for (const nlohmann::json& model : {second, third}) {
    INFO(model["name"]);
    CHECK(model["prefill_int8_fraction"].get<double>() > 0);
    CHECK(model["prefill_fp32_fraction"].is_null());
    CHECK(model["peak_rss_bytes"].get<double>() > model["weights_bytes"].get<double>());
    CHECK(model["weights_bytes"] < first["weights_bytes"]);
    CHECK(model["drift"]["kl"]["mean"] > 0);
    CHECK(model["drift"]["perplexity"]["baseline"] == second["drift"]["perplexity"]["baseline"]);
  }
  CHECK(second["drift"]["kl"]["mean"] < third["drift"]["kl"]["mean"]);
}

TEST_CASE("bench tells where the time goes, as a table, as JSON and as a trace") {
  const test::TemporaryFolder folder;
  const std::string trace_file = folder.path() / "trace.json";
  const std::vector<std::string> small = {
      "bench", reference_model(), "--prompt-tokens", "16", "--gen-tokens", "4", "--repeat", "1"};
  std::vector<std::string> with = small;
  with.insert(with.end(), {"--profile", "--trace", trace_file, "--sequences", "3"});
  const ChildReport table = run_whittle(with);
  REQUIRE(table.exit_code == 0);
  CHECK(table.output.find("down projection") != std::string::npos);
  const nlohmann::json trace = nlohmann::json::parse(test::read_text(trace_file));
  CHECK(trace["traceEvents"].size() > 100);
  with.insert(with.end(), {"--json", "-"});
  const nlohmann::json json = test::parse_report(run_whittle(with).output);
  CHECK(json["protocol"]["sequences"] == 3);
  for (const char* phase : {"prefill", "decode"}) {
    const nlohmann::json& operations = json["models"][0]["profile"][phase];
    REQUIRE(operations.is_array());
    double share = 0;
    for (const nlohmann::json& operation : operations) share += operation["share"].get<double>();
    CHECK(share == Approx(1.0));
  }
  CHECK(run_whittle({"bench", reference_model(), "--sequences", "0"}).exit_code == 2);
}

TEST_CASE(
    "bench is a peer that builds and settings of Whittle are compared with, the last of a flag counting") {
  const Peer peer = {"one thread", WHITTLE_PROGRAM, {"--threads", "1", "--kv-cache", "f16"}, ""};
  const SpeedOptions options = {.prompt_tokens = 8, .gen_tokens = 2, .repeat = 1, .kv_cache = KvFormat::int8};
  const std::vector<std::string> command = peer_command(peer, reference_model(), options, 2);
  const nlohmann::json protocol = nlohmann::json::parse(run_child(command).output)["protocol"];
  CHECK(protocol["threads"] == 1);
  CHECK(protocol["kv_cache"] == "f16");
  CHECK(protocol["prompt_tokens"] == 8);
  CHECK(run_peer(peer, reference_model(), options, 2, 600).decode > 0);
}

TEST_CASE("bench takes lists of settings, and writes one table as JSON, CSV and Markdown") {
  const test::TemporaryFolder folder;
  const std::string csv = folder.path() / "cells.csv", markdown = folder.path() / "cells.md";
  const ChildReport report =
      run_whittle({"bench",           reference_model(),
                   "--prompt-tokens", "8,12",
                   "--gen-tokens",    "2",
                   "--sequences",     "1,3",
                   "--threads",       "1,2",
                   "--kv-cache",      "int8",
                   "--context",       "0",
                   "--repeat",        "1",
                   "--json",          "-",
                   "--csv",           csv,
                   "--markdown",      markdown,
                   "--context",       "16"});  // of a flag given twice, the last counts
  REQUIRE(report.exit_code == 0);
  const nlohmann::json json = test::parse_report(report.output);
  REQUIRE(json["cells"].size() == 8);
  CHECK(json["protocol"]["context"] == 16);
  CHECK(json["protocol"]["kv_cache"] == "int8");
  CHECK(json["protocol"]["prompt_tokens"].is_null());
  for (const nlohmann::json& cell : json["cells"]) {
    CHECK(cell["decode_tokens_per_s"] > 0);
    CHECK(cell["energy"].is_null());
  }
  const std::string table = test::read_text(csv), page = test::read_text(markdown);
  CHECK(std::ranges::count(table, '\n') == 9);
  CHECK(table.starts_with("model,"));
  CHECK(page.starts_with("| model |"));
  const ChildReport text =
      run_whittle({"bench", reference_model(), "--prompt-tokens", "8", "--gen-tokens", "2", "--context",
                   "0,16", "--threads", "1", "--repeat", "1", "--energy"});
  REQUIRE(text.exit_code == 0);
  CHECK(text.output.find("ctx") != std::string::npos);
}

TEST_CASE("bench measures the latency of prompts from a file, and refuses hostile lines") {
  const test::TemporaryFolder folder;
  const std::string file = folder.path() / "prompts.jsonl";
  test::write_text(file, "{\"prompt\": \"Once upon a time\", \"max_tokens\": 3}\n{\"prompt\": \"The\"}\n");
  const std::vector<std::string> bench = {"bench", reference_model(), "--threads", "1", "--prompts",
                                          file,    "--gen-tokens",    "2"};
  std::vector<std::string> as_json = bench;
  as_json.insert(as_json.end(), {"--json", "-", "--end-to-end"});
  const ChildReport report = run_whittle(as_json);
  REQUIRE(report.exit_code == 0);
  const nlohmann::json json = test::parse_report(report.output);
  CHECK(json["goal"]["name"] == "latency");
  CHECK(json["protocol"]["prompts"] == 2);
  CHECK(json["protocol"]["timing"] == "end_to_end");
  CHECK(json["protocol"]["prompt_tokens"].is_null());
  CHECK(json["models"][0]["requests"][0]["gen_tokens"] == 3);
  CHECK(json["models"][0]["requests"][1]["gen_tokens"] == 2);
  CHECK(json["models"][0]["peak_rss_bytes"] > 0);
  for (const std::string line : {"{\"prompt\": 7}", "{\"prompt\": \"a\", \"max_tokens\": -1}", "\x1b[2J"}) {
    test::write_text(file, "{\"prompt\": \"fine\"}\n" + line + "\n");
    const ChildReport refused = run_child(whittle_words(bench), {.keep_errors = true});
    CHECK(refused.exit_code == 1);
    CHECK(refused.output.empty());
    CHECK(std::ranges::count(refused.errors, '\n') == 1);
    CHECK(refused.errors.find("line 2") != std::string::npos);
    CHECK(refused.errors.find('\x1b') == std::string::npos);
  }
}

TEST_CASE("bench with a goal of throughput is a gate") {
  const std::vector<std::string> bench = {
      "bench", reference_model(), "--threads", "1",      "--prompt-tokens", "4", "--gen-tokens",
      "2",     "--repeat",        "1",         "--goal", "throughput"};
  std::vector<std::string> kept = bench, exceeded = bench;
  kept.insert(kept.end(), {"--max-itl-ms", "100000", "--max-sequences", "2"});
  const ChildReport report = run_whittle(kept);
  CHECK(report.exit_code == 0);
  CHECK(report.output.find("best") != std::string::npos);
  exceeded.insert(exceeded.end(), {"--max-itl-ms", "0.00001"});
  const ChildReport too_slow = run_child(whittle_words(exceeded), {.keep_errors = true});
  CHECK(too_slow.exit_code == 3);
  CHECK(too_slow.output.find("too slow") != std::string::npos);
  CHECK(std::ranges::count(too_slow.errors, '\n') == 1);
}

TEST_CASE("bench refuses what cannot be measured, and says why through its exit code") {
  CHECK(run_whittle({"bench"}).exit_code == 2);
  CHECK(run_whittle({"bench", reference_model(), "--text", "story.txt"}).exit_code == 2);  // drift from what?
  CHECK(run_whittle({"bench", reference_model(), "--repeat", "0"}).exit_code == 2);
  CHECK(run_whittle({"bench", reference_model(), "--prompt-tokens", "512", "--gen-tokens", "1"}).exit_code ==
        1);
  CHECK(run_whittle({"bench", "/no/such/model"}).exit_code == 1);
}
