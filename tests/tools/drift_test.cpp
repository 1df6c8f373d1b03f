// `whittle drift` from outside: ids, gates and tokenizers of all kinds.

#include <catch2/catch.hpp>
#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/support/commands.h"
#include "tests/support/reports.h"
#include "tests/support/tiny_model.h"
#include "tests/support/two_models.h"

using namespace whittle::test;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

struct DriftModels : TwoModels {
  Outcome drift(const std::string& text, const std::vector<std::string>& more) const {
    write_text(folder.path() / "text.txt", text);
    std::vector<std::string> command = {
        "drift",     model, "--baseline", baseline, "--text", folder.path() / "text.txt",
        "--context", "8",   "--threads",  "1"};
    command.insert(command.end(), more.begin(), more.end());
    return run_whittle(command);
  }
};

}  // namespace

TEST_CASE("Ids that the model does not have are one error, wherever they stand") {
  const TemporaryFolder folder;
  for (const char* ids : {"[[0,5,2000000000]]", "[[0,5,4096]]", "[[0,5],[0,4096,5]]"}) {
    write_text(folder.path() / "ids.json", ids);
    const Outcome outcome = run_whittle({"drift", reference_model(), "--baseline", reference_model(),
                                         "--token-ids", folder.path() / "ids.json", "--threads", "1"});
    INFO(ids << outcome.err);
    CHECK(outcome.exit_code == 1);
    CHECK(outcome.out.empty());
    CHECK(has(outcome.err, "position"));
    CHECK(has(outcome.err, "vocab_size 4096"));
  }
}

TEST_CASE("A tokenizer without BOS is judged on windows without BOS") {
  const DriftModels models;
  const Outcome outcome = models.drift(letters(80), {"--json", "-"});
  INFO(outcome.err);
  REQUIRE(outcome.exit_code == 0);
  const json report = json::parse(outcome.out);
  CHECK(report["protocol"] == "windows without BOS");
  CHECK(report["windows"] == 10);
  CHECK(report["tokens_scored"] == 70);
  CHECK(has(models.drift(letters(80), {}).out, "protocol windows without BOS"));
}

TEST_CASE("A context beyond the model's positions is run, and said") {
  const DriftModels models;
  const fs::path text = models.folder.path() / "text.txt";
  write_text(text, letters(600));
  for (const std::string context : {"8", "200"}) {
    const Outcome outcome = run_whittle({"drift", models.model, "--baseline", models.baseline, "--text", text,
                                         "--context", context, "--threads", "1"});
    INFO(outcome.err);
    CHECK(outcome.exit_code == 0);
    CHECK(lines(outcome.err) == (context == "200" ? 2 : 0));  // model and baseline
    CHECK(has(outcome.err, "max_position_embeddings") == (context == "200"));
  }
}

TEST_CASE("A gate says whether it is kept, exceeded or undecided, in the exit code, the text and JSON") {
  const DriftModels models;
  const double kl = parse_report(models.drift(letters(800), {"--json", "-"}).out)["kl"]["mean"].get<double>();
  REQUIRE(kl > 0);
  const auto judged = [&](size_t characters, double limit) {
    const std::vector<std::string> gate = {"--max-kl", std::to_string(limit)};
    Outcome text = models.drift(letters(characters), gate);
    const Outcome as_json = models.drift(letters(characters), {gate[0], gate[1], "--json", "-"});
    CHECK(text.exit_code == as_json.exit_code);
    CHECK(text.err == as_json.err);
    const std::string verdict = json::parse(as_json.out)["gates"][0]["verdict"];
    CHECK(has(text.out, "gate " + verdict));
    CHECK((verdict == "kept") == text.err.empty());
    return std::pair(verdict, text.exit_code);
  };
  CHECK(judged(800, 3 * kl) == std::pair(std::string("kept"), 0));
  CHECK(judged(800, kl / 3) == std::pair(std::string("exceeded"), 3));
  CHECK(judged(800, 1.001 * kl) == std::pair(std::string("undecided"), 0));
  CHECK(judged(800, 0.999 * kl) == std::pair(std::string("undecided"), 3));
  CHECK(judged(8, 1e6) == std::pair(std::string("undecided"), 0));  // a single window

  for (const char* bad : {"nan", "inf", "-1", "much"})
    CHECK(models.drift(letters(8), {"--max-kl", bad}).exit_code == 2);
}

TEST_CASE("Drift by layers says of every layer and linear what it lost, and JSON has it too") {
  const json plain = parse_report(run_whittle(with(drift_arguments(), {"--json", "-"})).out);
  CHECK(plain["layers"].is_null());
  const Outcome text = run_whittle(with(drift_arguments(), {"--layers"}));
  CHECK(text.exit_code == 0);
  CHECK(has(text.out, "largest, of linears: layer "));
  json report = parse_report(run_whittle(with(drift_arguments(), {"--layers", "--json", "-"})).out);
  const json layers = report["layers"]["layers"];
  const json config = json::parse(read_text(reference_model() / "config.json"));
  CHECK(layers.size() == config["num_hidden_layers"].get<size_t>());
  for (const json& layer : layers) {
    CHECK(layer["linears"].size() == 7);
    CHECK(layer["alone_error_percent"].get<double>() > 0);
    CHECK(layer["alone_error_percent"].get<double>() < 5);
  }
  report["layers"] = nullptr;
  CHECK(report == plain);
}

TEST_CASE("A baseline is stored once and then judges several models, as the original would") {
  const DriftModels models;
  const std::string text = models.folder.path() / "text.txt", file = models.folder.path() / "text.baseline";
  const json beside = parse_report(models.drift(letters(80), {"--json", "-"}).out);
  const std::vector<std::string> save = {
      "drift",     "--baseline", models.baseline,   "--text", text, "--context", "8",
      "--threads", "1",          "--save-baseline", file};
  const Outcome saved = run_whittle(save);
  INFO(saved.err);
  REQUIRE(saved.exit_code == 0);
  CHECK(has(saved.out, "text.baseline"));
  const std::vector<std::string> judge = {"drift", models.model, "--baseline", file, "--threads", "1"};
  const json stored = parse_report(run_whittle(with(judge, {"--json", "-"})).out);
  CHECK(stored["perplexity"] == beside["perplexity"]);
  CHECK(stored["kl"]["mean_exact"][0] <= beside["kl"]["mean"]);
  CHECK(stored["kl"]["mean_exact"][1] >= beside["kl"]["mean"]);
  CHECK(beside["kl"]["mean_exact"].is_null());
  CHECK(stored["stored_baseline"]["name"] == "baseline");
  CHECK(has(run_whittle(judge).out, "error by storing, at most"));
  const Outcome two = run_whittle(with(judge, {models.baseline}));
  CHECK(two.exit_code == 0);
  CHECK(has(two.out, "baseline  "));

  CHECK(run_whittle(save).exit_code == 1);  // it is there already
  CHECK(run_whittle(with(judge, {"--text", text})).exit_code == 0);
  write_text(text, letters(79));
  const Outcome other = run_whittle(with(judge, {"--text", text}));
  CHECK(other.exit_code == 1);
  CHECK(has(other.err, "\"hash\""));
  for (const std::vector<std::string>& wrong :
       std::vector<std::vector<std::string>>{with(judge, {"--context", "8"}),
                                             with(judge, {"--layers"}),
                                             with(judge, {"--top", "4"}),
                                             with(judge, {"--save-baseline", file + "2"}),
                                             with(save, {models.model}),
                                             with(save, {"--max-kl", "1"}),
                                             with(save, {"--top", "0"}),
                                             with(save, {"--top", "some"}),
                                             {"drift", "--baseline", file}}) {
    INFO(json(wrong).dump());
    const Outcome outcome = run_whittle(wrong);
    INFO(outcome.err);
    CHECK(outcome.exit_code == 2);
    CHECK(outcome.out.empty());
  }
}

TEST_CASE("Several texts are a row each and one of all, and an array in JSON") {
  const DriftModels models;
  const std::string other = models.folder.path() / "other.txt";
  write_text(other, letters(40));
  const std::vector<std::string> more = {"--text", other, "--max-kl", "1e6"};
  const Outcome text = models.drift(letters(80), more);
  INFO(text.err);
  CHECK(text.exit_code == 0);
  for (const char* row : {"text.txt", "other.txt", "all tokens"}) CHECK(has(text.out, row));
  const json report = parse_report(models.drift(letters(80), with(more, {"--json", "-"})).out);
  CHECK(report["schema"] == "whittle.drift");
  REQUIRE(report["reports"].size() == 2);
  REQUIRE(report["means"].size() == 1);
  const json single = parse_report(models.drift(letters(80), {"--json", "-"}).out);
  CHECK(report["reports"][0]["kl"] == single["kl"]);
  CHECK(report["reports"][0]["text"] == single["text"]);
  double sum = 0, tokens = 0;
  for (const json& one : report["reports"]) {
    sum += one["kl"]["mean"].get<double>() * one["tokens_scored"].get<double>();
    tokens += one["tokens_scored"].get<double>();
  }
  CHECK(report["means"][0]["kl"]["mean"].get<double>() == Approx(sum / tokens));
  CHECK(report["means"][0]["tokens_scored"] == tokens);
  CHECK(report["means"][0]["gates"].size() == 1);
  CHECK(run_whittle({"drift", models.model, "--baseline", models.baseline, "--text", "-", "--text", "-"})
            .exit_code == 2);
}

TEST_CASE("A drift that is killed goes on from the windows it has done") {
  const DriftModels models;
  const fs::path text = models.folder.path() / "text.txt", log = models.folder.path() / "log";
  write_text(text, letters(40'000));
  const std::vector<std::string> command = {"drift",     models.model, "--baseline", models.baseline,
                                            "--text",    text,         "--context",  "64",
                                            "--threads", "1",          "--json",     "-"};
  const std::vector<std::string> resumed = with(command, {"--resume", log});
  {
    Child child(whittle_command(resumed));
    const auto some = [&] { return lines(read_text(log)) > 20; };
    while (!child.ended() && !some()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    child.send(SIGKILL);
    CHECK(child.wait().signal == SIGKILL);
  }
  REQUIRE(fs::exists(log));
  const Outcome other = run_whittle(with(resumed, {"--kv-cache", "int8"}));
  CHECK(other.exit_code == 1);
  CHECK(has(other.err, "\"kv_cache\""));
  const Outcome ended = run_whittle(resumed);
  INFO(ended.err);
  REQUIRE(ended.exit_code == 0);
  CHECK(ended.out == run_whittle(command).out);
  CHECK_FALSE(fs::exists(log));
}
