#include "bench/peers/peer.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>

#include "bench/peers/peer_flags.h"
#include "kernels/error.h"
#include "tests/support/fake_peer.h"

using namespace whittle;
using namespace whittle::test;
using Catch::Contains;

namespace {

bool contains(const std::vector<std::string>& words, const std::vector<std::string>& run) {
  return !std::ranges::search(words, run).empty();
}

}  // namespace

TEST_CASE("llama-bench's rows are read, whatever its log says around them") {
  const auto check = [](const std::string& text) {
    INFO(text);
    const PeerSpeed speed = read_llama_bench(text);
    CHECK(speed.prefill == 160.5);
    CHECK(speed.decode == 80.25);
  };
  check(bench_rows);
  check("[1795] loading\n[] nothing\nwarning: [x]\n[broken\n" + bench_rows +
        "\nllama_print_timings: [ 1 ]\n");

  for (const std::string text :
       {"", "no figures", "[]", "[1, 2]", R"([{"n_prompt": 16, "n_gen": 0, "avg_ts": 160.5}])",
        R"([{"n_prompt": 0, "n_gen": 4, "avg_ts": 160.5}])", R"([{"n_prompt": 16, "n_gen": 0}])",
        R"([{"n_prompt": 16, "n_gen": 0, "avg_ts": 0}, {"n_prompt": 0, "n_gen": 4, "avg_ts": 1}])",
        R"([{"n_prompt": 16, "n_gen": 0, "avg_ts": "1"}, {"n_prompt": 0, "n_gen": 4, "avg_ts": 1}])"}) {
    INFO(text);
    CHECK_THROWS_AS(read_llama_bench(text), Error);
  }
  CHECK_THROWS_AS(read_llama_bench(bench_rows.substr(0, bench_rows.size() - 1)), Error);
}

TEST_CASE("llama-batched-bench's table is read by its column names") {
  const auto check = [](const std::string& text) {
    INFO(text);
    const PeerSpeed speed = read_batched_bench(text);
    CHECK(speed.prefill == 160.5);
    CHECK(speed.decode == 80.25);
  };
  check(batched_table);
  check("llama_model_loader: |- 1 | 2 |\n\nmain: n_kv_max = 512\n\n" + batched_table + "\ntimings: 3\n");
  check("| S_TG t/s | new | S_PP t/s |\n|---|---|---|\n| 80.25 | 7 | 160.5 |\n");

  for (const std::string& text : {std::string(), header, batched_table.substr(header.size()),
                                  header + "|    16 |      4 |    1 |     20 |    0.100 |   160.50 |\n",
                                  header + "| 16 | 4 | 1 | 20 | 0.1 | nan | 0.05 | 80.25 | 0.15 | 133 |\n",
                                  header + "| 16 | 4 | 1 | 20 | 0.1 | 160.5 | 0.05 | 0 | 0.15 | 133 |\n",
                                  header + "| 16 | 4 | 1 | 20 | 0.1 | 160.5 | 0.05 | 80x | 0.15 | 133 |\n"}) {
    INFO(text);
    CHECK_THROWS_AS(read_batched_bench(text), Error);
  }
}

TEST_CASE("the report of another whittle is read for its first model") {
  const std::string report = R"({
  "machine": {"cpu": "{"},
  "models": [{"name": "m", "prefill_tokens_per_s": 160.5, "decode_tokens_per_s": 80.25}]
})";
  for (const std::string& text : {report, "{\n{\"a\": 1}\n" + report + "\nwarning: {x}\n"}) {
    INFO(text);
    const PeerSpeed speed = read_whittle_bench(text);
    CHECK(speed.prefill == 160.5);
    CHECK(speed.decode == 80.25);
  }
  for (const std::string text : {"", "{}", "[1]", R"({"models": []})", R"({"models": [1]})",
                                 R"({"models": [{"prefill_tokens_per_s": 1}]})",
                                 R"({"models": [{"prefill_tokens_per_s": null, "decode_tokens_per_s": 1}]})",
                                 R"({"models": [{"prefill_tokens_per_s": 1, "decode_tokens_per_s": 0}]})"}) {
    INFO(text);
    CHECK_THROWS_AS(read_whittle_bench(text), Error);
  }
  CHECK_THROWS_AS(read_whittle_bench(report.substr(0, report.size() - 1)), Error);
}

TEST_CASE("any program's figures are in the JSON object that it wrote last") {
  const std::string object = R"({"prefill_tokens_per_s": 160.5, "decode_tokens_per_s": 80.25})";
  for (const std::string& text :
       {object, object + "\n", "{\"decode_tokens_per_s\": 1}\n{not JSON\n" + object + "\nbye {x} }\n",
        std::string(
            "{\n  \"model\": {\"layers\": [{}, {\"a\": \"\\n{\"}]},\n  \"prefill_tokens_per_s\": 160.5,\n"
            "  \"decode_tokens_per_s\": 80.25}")}) {
    INFO(text);
    const PeerSpeed speed = read_any_program(text);
    CHECK(speed.prefill == 160.5);
    CHECK(speed.decode == 80.25);
  }
  for (const std::string text :
       {R"({"decode_tokens_per_s": 3})", R"({"prefill_tokens_per_s": null, "decode_tokens_per_s": 3})"}) {
    const PeerSpeed speed = read_any_program(text);
    CHECK_FALSE(speed.prefill);
    CHECK(speed.decode == 3);
  }
}

TEST_CASE("any program's figures that are none are errors that name the key") {
  const auto check = [](const std::string& text, const std::string& why) {
    INFO(text);
    CHECK_THROWS_WITH(read_any_program(text), Contains(why));
  };
  const std::string keys[] = {"prefill_tokens_per_s", "decode_tokens_per_s"};
  for (const std::string& key : keys) {
    const std::string other = key == keys[0] ? R"(, "decode_tokens_per_s": 1})" : "}";
    for (const std::string value : {"NaN", "Infinity"}) check("{\"" + key + "\": " + value + other, key);
    for (const std::string value : {"1e999", "-Infinity"})
      check("{\"" + key + "\": " + value + other, "not valid JSON");
    for (const std::string value : {"0", "-1", "\"8\"", "true", "[8]", "{}"})
      check("{\"" + key + "\": " + value + other, "\"" + key + "\"");
  }
  check(R"({"prefill_tokens_per_s": 8})", "\"decode_tokens_per_s\"");
  check(R"({"decode_tokens_per_s": null})", "\"decode_tokens_per_s\"");
  check(R"({"decode_tokens_per_s": 1, "decode_tokens_per_s": 2})", "appears twice");
  check("{\"decode_tokens_per_s\": 1}\n{\"prefill_tokens", "not valid JSON");
  check(std::string(100, '{'), "not valid JSON");
  check("{\"a\": " + std::string(1000, '[') + std::string(1000, ']') + "}", "nested deeper");
  check("{\"a\": \"\xff\", \"decode_tokens_per_s\": 1}", "not valid JSON");
  for (const char* text : {"", "8.5", "[1]", " {\"decode_tokens_per_s\": 1}"}) check(text, "no line");
}

TEST_CASE("each kind of program is told what to measure in its own words") {
  SpeedOptions options = {.prompt_tokens = 512, .gen_tokens = 64};
  const Peer single = {"a", "/x/llama-bench", {"-rtr", "1"}, ""},
             many = {"b", "/x/llama-batched-bench", {}, ""};
  const std::vector<std::string> words = peer_command(single, "m.gguf", options, 2);
  CHECK(words == std::vector<std::string>{"/x/llama-bench", "-m", "m.gguf", "-p", "512", "-n", "64", "-t",
                                          "2", "-r", "1", "-o", "json", "-rtr", "1"});
  const std::vector<std::string> quantized = {"-ctk", "q8_0", "-ctv", "q8_0", "-fa", "1"};
  CHECK_FALSE(contains(peer_command(many, "m.gguf", options, 2), {"-ctk"}));
  options.kv_cache = KvFormat::int8;
  CHECK(contains(peer_command(single, "m.gguf", options, 2), quantized));
  options.sequences = 8;
  const std::vector<std::string> batched = peer_command(many, "m.gguf", options, 2);
  CHECK(contains(batched, quantized));
  CHECK(contains(batched, {"-npp", "512", "-ntg", "64", "-npl", "8", "-t", "2", "-tb", "2"}));
  CHECK(contains(batched, {"-c", "4672"}));  // 576 · 8 are 18 times 256
  options.gen_tokens = 65;
  CHECK(contains(peer_command(many, "m.gguf", options, 2), {"-c", "4928"}));
  CHECK_THROWS_WITH(peer_command(single, "m.gguf", options, 2), Contains("--sequences 8") && Contains("a ("));
  const Peer whittle = {"c", "/x/whittle", {"--threads", "1"}, ""};
  CHECK(peer_command(whittle, "m", options, 2) ==
        std::vector<std::string>{"/x/whittle", "bench", "m", "--prompt-tokens", "512", "--gen-tokens", "65",
                                 "--sequences", "8", "--kv-cache", "int8", "--threads", "2", "--repeat", "5",
                                 "--json", "-", "--threads", "1"});
  const Peer other = {"d", "/x/engine.py", {"--mode", "int8"}, ""};
  CHECK(peer_command(other, "m", options, 2) ==
        std::vector<std::string>{"/x/engine.py", "m", "--prompt-tokens", "512", "--gen-tokens", "65",
                                 "--threads", "2", "--sequences", "8", "--kv-cache", "int8", "--mode",
                                 "int8"});
  CHECK(peer_command(other, "m", {.prompt_tokens = 5, .gen_tokens = 6}, 1) ==
        std::vector<std::string>{"/x/engine.py", "m", "--prompt-tokens", "5", "--gen-tokens", "6",
                                 "--threads", "1", "--mode", "int8"});
}

TEST_CASE("a flag of another form, or that names what is not there, is an error that says so") {
  const FakePeer fake("llama-bench", "");
  const std::string peer = fake.flag();
  const std::vector<Peer> peers = make_peers({peer}, {"fake=-rtr  1", "fake=-x"}, {"fake=abc"});
  REQUIRE(peers.size() == 1);
  CHECK(peers[0].name == "fake");
  CHECK(peers[0].program == fake.peer().program);
  CHECK(peers[0].arguments == std::vector<std::string>{"-rtr", "1", "-x"});
  CHECK(peers[0].commit == "abc");

  for (const std::string text : {"", "llama-bench", "=llama-bench", "fake="})
    CHECK_THROWS_WITH(make_peers({text}, {}, {}), Contains("--peer: expected NAME=PROGRAM"));
  CHECK_THROWS_WITH(make_peers({peer, peer}, {}, {}), Contains("two are named \"fake\""));
  CHECK_THROWS_WITH(make_peers({peer}, {"ik=-rtr"}, {}), Contains("--peer-args: no --peer is named \"ik\""));
  CHECK_THROWS_WITH(make_peers({peer}, {}, {"abc"}), Contains("--peer-commit: expected NAME=HASH"));
  CHECK_THROWS_WITH(make_peers({"a=/no/llama-bench"}, {}, {}), Contains("/no/llama-bench"));
  CHECK_THROWS_WITH(make_peers({"a=" + fake.gguf()}, {}, {}), Contains("not a program"));

  CHECK(make_models({"folder=" + fake.gguf()})[0].folder == "folder");
  CHECK(make_models({"folder=" + fake.gguf()})[0].peer_model == fake.gguf());
  const ComparedModel folders = make_models({"folder/=" + fake.folder() + "/"})[0];
  CHECK(folders.folder == "folder");
  CHECK(folders.peer_model == fake.folder());
  CHECK_THROWS_WITH(make_models({"folder"}), Contains("--models: expected FOLDER=PATH"));
  CHECK_THROWS_WITH(make_models({"folder=/no/file.gguf"}), Contains("/no/file.gguf"));
}

TEST_CASE("a peer runs pinned on the same numbers, and what it wrote to either stream is read") {
  const FakePeer fake("llama-batched-bench", "echo \"$OMP_PROC_BIND $OMP_PLACES\" >>environment\n(" +
                                                 print(batched_table) + ") >&2\n");
  const ComparisonOptions options = small_options(fake);
  const PeerSpeed speed = run_peer(fake.peer(), fake.gguf(), options.speed, 1, 60);
  CHECK(speed.prefill == 160.5);
  CHECK(speed.decode == 80.25);
  CHECK(fake.lines("environment") == std::vector<std::string>{"true cores"});
  SpeedOptions together = options.speed;
  together.sequences = 4;
  CHECK_FALSE(run_peer(fake.peer(), fake.gguf(), together, 1, 60).prefill);
}

TEST_CASE("any other program runs pinned too, and what it logs is no figure") {
  const std::string log = print(R"({"decode_tokens_per_s": "log"})");
  const FakePeer fake("engine", "echo \"$OMP_PROC_BIND $@\" >calls\n(" + log + ") >&2\n" +
                                    print(R"({"decode_tokens_per_s": 80.25})"));
  const PeerSpeed speed = run_peer(fake.peer(), "model", small_options(fake).speed, 1, 60);
  CHECK_FALSE(speed.prefill);
  CHECK(speed.decode == 80.25);
  CHECK(fake.lines("calls") ==
        std::vector<std::string>{"true model --prompt-tokens 16 --gen-tokens 4 --threads 1 -extra"});

  const FakePeer wrong("engine", print(R"({"decode_tokens_per_s": -1})"));
  CHECK_THROWS_WITH(run_peer(wrong.peer(), "model", small_options(wrong).speed, 1, 60),
                    Contains(wrong.peer().program.string() + " model") && Contains("decode_tokens_per_s"));
}

TEST_CASE("another whittle is left to pin its threads itself") {
  const FakePeer fake("whittle-before",
                      "echo \"$OMP_PROC_BIND $OMP_PLACES\" >>environment\n" +
                          print(R"({"models": [{"prefill_tokens_per_s": 2, "decode_tokens_per_s": 3}]})"));
  const PeerSpeed speed = run_peer(fake.peer(), reference_model(), small_options(fake).speed, 1, 60);
  CHECK(speed.prefill == 2);
  CHECK(speed.decode == 3);
  const auto ours = [](const char* variable) {
    return std::string(std::getenv(variable) ? std::getenv(variable) : "");
  };
  CHECK(fake.lines("environment") == std::vector{ours("OMP_PROC_BIND") + ' ' + ours("OMP_PLACES")});
}

TEST_CASE("a peer that fails is an error with its command and the end of what it wrote") {
  const auto check = [](const std::string& script, double timeout, const std::string& why) {
    const FakePeer fake("llama-bench", script);
    INFO(script);
    const ComparisonOptions options = small_options(fake);
    CHECK_THROWS_WITH(run_peer(fake.peer(), fake.gguf(), options.speed, 1, timeout),
                      Contains(fake.peer().program.string() + " -m " + fake.gguf()) &&
                          Contains("-extra: " + why) && Contains("line 20") && Contains("line 13") &&
                          !Contains("line 12"));
  };
  const std::string talk = "for i in $(seq 20); do echo line $i >&2; done\n";
  check(talk + "exit 7\n", 60, "failed with exit code 7");
  check(talk + "kill -9 $$\n", 60, "ended by signal 9");
  check(talk + "exec sleep 60\n", 0.2, "stopped after");
  check(talk, 60, "no JSON rows");
  const FakePeer hostile("engine", "printf '\\033[2J{\\n' >&2; exit 1\n");
  CHECK_THROWS_WITH(run_peer(hostile.peer(), "model", small_options(hostile).speed, 1, 60),
                    Contains("\\x1b[2J") && !Contains("\033"));
}
