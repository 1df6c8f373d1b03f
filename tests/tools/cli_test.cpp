// The program from outside: exit codes, what goes to which stream, and what a run leaves on the disk.

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/support/commands.h"
#include "tests/support/reports.h"
#include "tests/support/tiny_model.h"

namespace fs = std::filesystem;
using namespace whittle::test;
using nlohmann::json;

namespace {

const std::vector<std::string> commands = {
    "quantize", "prune",   "frontier", "export",     "generate", "bench", "drift",   "gate",   "tasks",
    "tokenize", "inspect", "machine",  "synthesize", "estimate", "soak",  "compare", "report", "completion"};

bool loads(const fs::path& folder) {
  const TemporaryFolder ids;
  write_text(ids.path() / "ids.json", "[1, 2]");
  return run_whittle({"generate", folder, "--token-ids", ids.path() / "ids.json", "--max-tokens", "1",
                      "--threads", "1"})
             .exit_code == 0;
}

}  // namespace

TEST_CASE("Every command explains itself with examples") {
  const Outcome all = run_whittle({"--help"});
  CHECK(all.exit_code == 0);
  for (const std::string& command : commands) {
    INFO(command);
    CHECK(has(all.out, command));
    const Outcome help = run_whittle({command, "--help"});
    CHECK(help.exit_code == 0);
    CHECK(has(help.out, "Examples:\n  whittle " + command));
    CHECK(help.err.empty());
  }
  CHECK(run_whittle({"--version"}).exit_code == 0);
}

TEST_CASE("Wrong usage is exit code 2, said on standard error alone") {
  std::vector<std::vector<std::string>> wrong = {
      {},
      {"compress"},
      {"quantize", reference_model()},
      {"quantize", reference_model(), "out", "--weights", "int3"},
      {"quantize", reference_model(), "out", "--group-size", "7"},
      {"prune", reference_model(), "out"},
      {"prune", reference_model(), "out", "--mlp-width", "1.5"},
      {"prune", reference_model(), "out", "--mlp-width", "0.5", "--drop-blocks", "1"},
      {"prune", reference_model(), "out", "--drop-blocks", "1", "--parts", "blocks"},
      {"prune", reference_model(), "out", "--max-kl", "0.1", "--alike"},
      {"prune", reference_model(), "out", "--recipe", "a.json", "--no-fit"},
      {"drift", reference_model(), "--text", story()},
      {"drift", reference_model(), "--baseline", reference_model()},
      {"generate", reference_model()},
      {"export", reference_model(), "out", "--type", "q5_0"},
      {"generate", reference_model(), "--prompt", "a", "--max-tokens", "x"},
      {"tokenize", reference_model(), "--text", "a", "--file", story()},
      {"machine", "--threads", "-1"},
      {"compare"},
      {"compare", "one.json"},
      {"report", "--html", "page.html"},
      {"report", "one.json"},
      {"report", "one.json", "--html", "./one.json"}};
  for (const std::string& command : commands) wrong.push_back({command, "--no-such-flag"});
  for (const auto& arguments : wrong) {
    INFO(json(arguments).dump());
    const Outcome outcome = run_whittle(arguments);
    CHECK(outcome.exit_code == 2);
    CHECK(outcome.out.empty());
    CHECK_FALSE(outcome.err.empty());
  }
}

TEST_CASE("A model that is not there is exit code 1 and one line that names it") {
  const TemporaryFolder folder;
  const std::string absent = folder.path() / "absent", out = folder.path() / "out";
  const std::vector<std::vector<std::string>> runs = {
      {"quantize", absent, out},
      {"export", absent, out},
      {"generate", absent, "--prompt", "a"},
      {"bench", absent},
      {"drift", absent, "--baseline", reference_model(), "--text", story()},
      {"drift", reference_model(), "--baseline", absent, "--text", story()},
      {"tasks", absent, "--tasks", quiz_file()},
      {"tasks", reference_model(), "--baseline", absent, "--tasks", quiz_file()},
      {"tokenize", absent, "--text", "a"},
      {"inspect", absent},
      {"estimate", absent},
      {"soak", absent},
      {"compare", absent, absent},
      {"report", absent, "--html", out}};
  for (const auto& arguments : runs) {
    INFO(json(arguments).dump());
    const Outcome outcome = run_whittle(arguments);
    INFO(outcome.err);
    CHECK(outcome.exit_code == 1);
    CHECK(outcome.out.empty());
    CHECK(lines(outcome.err) == 1);
    CHECK(has(outcome.err, absent));
  }
  CHECK(fs::is_empty(folder.path()));
}

TEST_CASE("A folder that exists is not written to") {
  const TemporaryFolder folder;
  std::ofstream(folder.path() / "precious") << "data";
  const Outcome outcome = run_whittle({"quantize", reference_model(), folder.path()});
  CHECK(outcome.exit_code == 1);
  CHECK(lines(outcome.err) == 1);
  CHECK(has(outcome.err, folder.path()));
  CHECK(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()) == 1);
  CHECK(read_text(folder.path() / "precious") == "data");
}

TEST_CASE("A model is exported once, in the type asked for") {
  const TemporaryFolder folder;
  const std::string out = folder.path() / "model.gguf";
  const Outcome made = run_whittle({"export", reference_model(), out, "--type", "q8_0", "--threads", "1"});
  INFO(made.err);
  CHECK(made.exit_code == 0);
  CHECK(has(made.out, out));
  const auto size = fs::file_size(out);
  const double ratio =
      static_cast<double>(size) / static_cast<double>(fs::file_size(reference_model() / "model.safetensors"));
  CHECK(ratio > 34.0 / 64);  // 34 bytes for 32 weights, and a tokenizer
  CHECK(ratio < 0.6);
  const Outcome again = run_whittle({"export", reference_model(), out, "--threads", "1"});
  CHECK(again.exit_code == 1);
  CHECK(lines(again.err) == 1);
  CHECK(has(again.err, "exists already"));
  CHECK(fs::file_size(out) == size);
}

TEST_CASE("A model is quantized, inspected, judged and run") {
  const Outcome inspected = run_whittle({"inspect", int8_model()});
  CHECK(inspected.exit_code == 0);
  CHECK(has(inspected.out, "int8"));

  const Outcome judged = run_whittle(drift_arguments());
  CHECK(judged.exit_code == 0);
  CHECK(judged.err.empty());

  const std::vector<std::string> generate = {"generate",     int8_model(), "--prompt",  "Once upon a time",
                                             "--max-tokens", "12",         "--threads", "1"};
  const Outcome generated = run_whittle(generate);
  CHECK(generated.exit_code == 0);
  CHECK(generated.out.size() > 10);
  CHECK(run_whittle(generate).out == generated.out);
}

TEST_CASE("A gate that is exceeded is exit code 3, and the reason stands on standard error") {
  const Outcome exceeded = run_whittle(with(drift_arguments(), {"--max-kl", "0"}));
  CHECK(exceeded.exit_code == 3);
  CHECK(has(exceeded.err, "KL"));
  CHECK(lines(exceeded.err) == 1);
  CHECK_FALSE(exceeded.out.empty());
  const Outcome kept =
      run_whittle(with(drift_arguments(), {"--max-kl", "1", "--max-perplexity-increase", "50"}));
  CHECK(kept.exit_code == 0);
  CHECK(kept.err.empty());
}

TEST_CASE("With --json - the report is JSON, and nothing else is on standard output") {
  const TemporaryFolder folder;
  const std::string out = folder.path() / "out";
  const std::vector<std::vector<std::string>> runs = {
      {"quantize", reference_model(), out, "--effort", "fast", "--threads", "1"},
      drift_arguments(),
      tasks_arguments(),
      {"generate", int8_model(), "--prompt", "Once", "--max-tokens", "3", "--threads", "1"},
      {"inspect", int8_model()},
      {"machine", "--threads", "1"},
      bench_arguments()};
  for (const auto& arguments : runs) {
    INFO(json(arguments).dump());
    const Outcome outcome = run_whittle(with(arguments, {"--json", "-"}));
    INFO(outcome.err);
    CHECK(outcome.exit_code == 0);
    parse_report(outcome.out);
  }
}

TEST_CASE("Published JSON keys are there") {
  const auto check = [](const std::vector<std::string>& arguments, const std::vector<std::string>& keys) {
    const json report = json::parse(run_whittle(with(arguments, {"--json", "-"})).out, nullptr, false);
    for (const std::string& key : keys) {
      INFO(arguments.front() << " " << key);
      CHECK(report.is_object());
      CHECK((report.is_object() && report.contains(json::json_pointer(key))));
    }
  };
  check(drift_arguments(), {"/perplexity/baseline", "/perplexity/model", "/perplexity/increase_percent",
                            "/kl/mean", "/kl/p99", "/same_top_percent", "/tokens_scored"});
  check(tasks_arguments(), {"/schema", "/version", "/tasks/0/model/accuracy_percent",
                            "/tasks/0/baseline/accuracy_percent", "/tasks/0/comparison/mcnemar_p",
                            "/tasks/0/comparison/flips", "/tasks/0/items/0/model/log_likelihoods"});
  std::vector<std::string> bench_keys = {
      "/machine/read_gb_per_s", "/machine/int8_gops", "/schema", "/version", "/goal",
      "/cells/1/threads",       "/cells/1/ttft_ms"};
  for (const char* model : {"/models/0", "/models/1"})
    for (const char* key :
         {"name", "bits_per_weight", "disk_bytes", "peak_rss_bytes", "weights_bytes", "load_seconds",
          "ttft_ms", "prefill_tokens_per_s", "decode_tokens_per_s", "decode_gb_per_s",
          "decode_bandwidth_fraction", "prefill_int8_fraction", "itl_ms/p50", "itl_ms/p95", "itl_ms/p99"})
      bench_keys.push_back(std::string(model) + "/" + key);
  check(bench_arguments(), bench_keys);
}

TEST_CASE("A CPU that OpenMP binds the main thread to is not taken for the only one") {
  const auto cpus = [](std::vector<std::string> command) {
    for (std::string word : whittle_command({"machine", "--json", "-"})) command.push_back(word);
    return json::parse(run(command).out).at("machine").at("cpus_logical").get<int>();
  };
  const int unbound = cpus({"env", "-u", "OMP_PROC_BIND", "-u", "OMP_PLACES"});
  CHECK(cpus({"env", "-u", "OMP_PLACES", "OMP_PROC_BIND=true"}) == unbound);
  CHECK(cpus({"env", "OMP_PROC_BIND=close", "OMP_PLACES=threads"}) == unbound);
  CHECK(cpus({"env", "OMP_PROC_BIND=close", "OMP_PLACES=threads(1)"}) == 1);
}

TEST_CASE("Token ids turn back into the text") {
  const std::string text = "Lily's 3 caf\u00e9s\n were \u2603 there.";
  const Outcome ids = run_whittle({"tokenize", reference_model(), "--text", text});
  REQUIRE(ids.exit_code == 0);
  CHECK(json::parse(ids.out).size() > 5);
  const Outcome decoded =
      run_whittle({"tokenize", reference_model(), "--decode", "--no-special", "--text", ids.out});
  CHECK(decoded.out == text + "\n");
}

namespace {

// Large enough for a quantization to be interrupted in the middle.
void write_large_model(const fs::path& folder) {
  fs::create_directory(folder);
  TinyModel model;
  model.hidden_size = 256;
  model.intermediate_size = 1024;
  model.num_hidden_layers = 8;
  model.num_attention_heads = model.num_key_value_heads = 8;
  model.head_dim = 32;
  write_tiny_model(folder, model);
}

// What a run of `quantize` has beside its output while it works, if it has started to.
fs::path partial_folder(const fs::path& parent) {
  for (const auto& entry : fs::directory_iterator(parent))
    if (entry.path().filename().string().starts_with(".out.whittle-")) return entry.path();
  return {};
}

// Starts a quantization to PARENT/out, and waits until it has begun to write, and then `delay` more.
std::unique_ptr<Child> started_quantization(const fs::path& parent, std::chrono::milliseconds delay) {
  auto child = std::make_unique<Child>(
      whittle_command({"quantize", parent / "source", parent / "out", "--effort", "fast", "--threads", "1"}));
  while (partial_folder(parent).empty() && !child->ended())
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  std::this_thread::sleep_for(delay);
  return child;
}

}  // namespace

TEST_CASE("A quantization that is killed leaves nothing that loads as a model") {
  const TemporaryFolder folder;
  const fs::path parent = folder.path(), out = parent / "out";
  write_large_model(parent / "source");
  const auto start = std::chrono::steady_clock::now();
  REQUIRE(started_quantization(parent, {})->wait().exit_code == 0);
  const auto whole =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start);
  REQUIRE(loads(out));
  const std::string weights = read_text(out / "model.safetensors");

  int interrupted = 0;
  for (int i = 0; i < 10; ++i) {
    fs::remove_all(out);
    const auto child = started_quantization(parent, whole * i / 10);
    child->send(SIGKILL);
    child->wait();
    const fs::path partial = partial_folder(parent);
    if (!partial.empty()) {
      ++interrupted;
      CHECK_FALSE(fs::exists(out));
      CHECK_FALSE(loads(partial));
      fs::remove_all(partial);
    } else if (loads(out)) {
      CHECK(read_text(out / "model.safetensors") == weights);
    }
  }
  CHECK(interrupted >= 3);
}

TEST_CASE("A quantization that is interrupted removes what it wrote") {
  const TemporaryFolder folder;
  const fs::path parent = folder.path();
  write_large_model(parent / "source");
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    const auto child = started_quantization(parent, std::chrono::milliseconds(20));
    child->send(signal);
    CHECK(child->wait().signal == signal);
    CHECK(partial_folder(parent).empty());
    CHECK_FALSE(fs::exists(parent / "out"));
  }
}
