// `whittle gate` from outside: what is stored, what is found, and what is refused.

#include <catch2/catch.hpp>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support/commands.h"
#include "tests/support/reports.h"

namespace fs = std::filesystem;
using namespace whittle::test;
using nlohmann::json;

namespace {

json read_json(const fs::path& file) {
  std::ifstream stream(file);
  return json::parse(stream);
}

// A gate's file of the INT8 model, made once.
const fs::path& stored_gate() {
  static const TemporaryFolder folder;
  static const fs::path path = [] {
    fs::path file = folder.path() / "gate.json";
    const Outcome stored =
        run_whittle({"gate", int8_model(), "--baseline", reference_model(), "--text", story(), "--characters",
                     "1500", "--context", "32", "--threads", "1", "--store", file});
    INFO(stored.err);
    REQUIRE(stored.exit_code == 0);
    return file;
  }();
  return path;
}

Outcome check(const std::string& model, const std::vector<std::string>& more = {}) {
  return run_whittle(with({"gate", model, "--against", stored_gate(), "--threads", "1"}, more));
}

fs::path copy_of(const fs::path& model, const fs::path& to) {
  fs::copy(model, to, fs::copy_options::recursive);
  return to;
}

const json& check_named(const json& report, const std::string& name) {
  for (const json& one : report["checks"])
    if (one["name"] == name) return one;
  FAIL("no check " << name);
  return report;
}

}  // namespace

TEST_CASE("gate: the same model passes with the same bits, in every form of report") {
  const TemporaryFolder folder;
  const fs::path report = folder.path() / "r.json", junit = folder.path() / "r.xml",
                 markdown = folder.path() / "r.md";
  const Outcome same = check(int8_model(), {"--json", report, "--junit", junit, "--markdown", markdown});
  INFO(same.err);
  CHECK(same.exit_code == 0);
  CHECK(has(same.out, "the same bits"));
  const json found = read_json(report);
  check_schema(found);
  CHECK(found["schema"] == "whittle.gate");
  CHECK(found["outcome"] == "pass");
  CHECK(check_named(found, "size on disk")["outcome"] == "pass");
  std::ifstream xml(junit), md(markdown);
  const std::string xml_text{std::istreambuf_iterator<char>(xml), {}},
      md_text{std::istreambuf_iterator<char>(md), {}};
  CHECK(has(xml_text, "failures=\"0\""));
  CHECK(has(md_text, "| accuracy | pass |"));
}

TEST_CASE("gate: a coarser model is a regression, exit code 3, and the layers are named") {
  const TemporaryFolder folder;
  const std::string model = folder.path() / "int4";
  REQUIRE(run_whittle({"quantize", reference_model(), model, "--weights", "int4", "--effort", "fast",
                       "--threads", "1"})
              .exit_code == 0);
  const fs::path report = folder.path() / "r.json";
  const Outcome worse = check(model, {"--json", report});
  CHECK(worse.exit_code == 3);
  CHECK(has(worse.err, "regression: KL divergence"));
  const json found = read_json(report);
  check_schema(found);
  CHECK(check_named(found, "KL divergence")["outcome"] == "regression");
  CHECK(has(found["suspects"].dump(), "layer"));
  // Smaller, though.
  CHECK(check_named(found, "size on disk")["outcome"] == "pass");
  CHECK(check(model, {"--max-kl", "10", "--max-perplexity-increase", "1000", "--max-top-loss", "100"})
            .exit_code == 0);
}

TEST_CASE("gate: a special token that moved by one is found") {
  const TemporaryFolder folder;
  const fs::path model = copy_of(int8_model(), folder.path() / "m");
  json tokenizer = read_json(model / "tokenizer.json");
  bool moved = false;
  for (json& token : tokenizer["added_tokens"])
    if (token["special"] == true && !moved) {
      const std::string name = token["content"];
      token["content"] = name + "x";
      json& vocab = tokenizer["model"]["vocab"];
      if (vocab.contains(name)) vocab[name + "x"] = vocab[name];
      vocab.erase(name);
      moved = true;
    }
  REQUIRE(moved);
  write_text(model / "tokenizer.json", tokenizer.dump());
  const Outcome found = check(model);
  CHECK(found.exit_code == 3);
  CHECK(has(found.err, "is gone"));
}

TEST_CASE(
    "gate: an answer that would end at another token is found, and files that do not say where it ended "
    "pass") {
  const TemporaryFolder folder;
  const fs::path model = copy_of(int8_model(), folder.path() / "m"), file = folder.path() / "old.json";
  for (const char* name : {"config.json", "generation_config.json"}) {
    if (!fs::exists(model / name)) continue;
    json config = read_json(model / name);
    config["eos_token_id"] = {1, 2};
    write_text(model / name, config.dump());
  }
  const Outcome found = check(model);
  CHECK(found.exit_code == 3);
  CHECK(has(found.err, "and ends at 1, 2"));
  const auto against_file = [&](const std::string& judged) {
    return run_whittle({"gate", judged, "--against", file, "--threads", "1", "--text", story(), "--baseline",
                        reference_model()});
  };
  json old = read_json(stored_gate());
  old["inputs"].erase("eos_token_ids");
  write_text(file, old.dump());
  CHECK(against_file(model).exit_code == 0);
  for (const json& wrong : {json("1"), json({-1}), json({1.5}), json({4294967296}), json::object()}) {
    old["inputs"]["eos_token_ids"] = wrong;
    write_text(file, old.dump());
    const Outcome refused = against_file(int8_model());
    CHECK(refused.exit_code == 1);
    CHECK(has(refused.err, "eos_token_ids"));
  }
}

TEST_CASE("gate: another text or baseline cannot be compared, exit code 5") {
  const TemporaryFolder folder;
  write_text(folder.path() / "other.txt", std::string(2000, 'a') + " b");
  const Outcome text = check(int8_model(), {"--text", folder.path() / "other.txt"});
  CHECK(text.exit_code == 5);
  CHECK(has(text.err, "the text is another one"));
}

TEST_CASE("gate: what the stored file names is said before it is read, is no device, and flags win") {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "moved.json";
  json moved = read_json(stored_gate());
  moved["inputs"]["text"] = "gone.txt";
  moved["inputs"]["baseline"] = "a\x1b[2J";
  write_text(file, moved.dump());
  const auto judged = [&](const std::vector<std::string>& more) {
    return run_whittle(with({"gate", int8_model(), "--against", file, "--threads", "1"}, more));
  };
  const Outcome gone = judged({});
  CHECK(gone.exit_code == 1);
  CHECK(has(gone.err, "names the text " + (folder.path() / "gone.txt").string()));
  CHECK(has(gone.err, "names the baseline"));
  CHECK_FALSE(has(gone.err, "\x1b"));
  const Outcome here = judged({"--text", story(), "--baseline", reference_model()});
  CHECK(here.exit_code == 0);
  CHECK(here.err.empty());
  const Outcome absent = judged({"--text", story(), "--baseline", folder.path() / "absent"});
  CHECK(absent.exit_code == 1);
  CHECK(has(absent.err, "absent"));
  moved["inputs"]["text"] = "/dev/zero";
  write_text(file, moved.dump());
  const Outcome device = judged({"--baseline", reference_model()});
  CHECK(device.exit_code == 1);
  CHECK(lines(device.err) == 1);
  CHECK(has(device.err, "\"text\""));
}

TEST_CASE("gate: what was before is looked at before anything is measured") {
  const TemporaryFolder folder;
  for (const std::vector<std::string>& before : std::vector<std::vector<std::string>>{
           {"--build", folder.path()}, {"--build", "/bin/false"}, {"--old-model", folder.path()}}) {
    INFO(before.back());
    const Outcome outcome =
        check(int8_model(), with(before, {"--baseline", reference_model(), "--text", story()}));
    CHECK(outcome.exit_code == 1);
    CHECK(lines(outcome.err) == 1);
    CHECK(has(outcome.err, before.back()));
  }
}

TEST_CASE("gate: wrong usage is exit code 2") {
  const std::string gate = stored_gate();
  for (const std::vector<std::string>& flags : std::vector<std::vector<std::string>>{
           {},
           {"--against", gate, "--store", "x.json"},
           {"--against", gate, "--context", "64"},
           {"--against", gate, "--update"},
           {"--against", gate, "--reason", "x"},
           {"--store", "x.json"},
           {"--store", "x.json", "--baseline", reference_model(), "--text", story(), "--build", "x"},
           {"--against", gate, "--max-kl", "-1"},
           {"--against", gate, "--max-slowdown", "nan"}}) {
    INFO(json(flags).dump());
    const Outcome outcome = run_whittle(with({"gate", int8_model()}, flags));
    CHECK(outcome.exit_code == 2);
    CHECK(outcome.out.empty());
  }
  CHECK_FALSE(fs::exists("x.json"));
}

TEST_CASE("gate: what is stored is not overwritten, but moved with a reason, and its history stays") {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "gate.json";
  fs::copy(stored_gate(), file);
  const Outcome again = run_whittle({"gate", int8_model(), "--baseline", reference_model(), "--text", story(),
                                     "--threads", "1", "--store", file});
  CHECK(again.exit_code == 1);
  CHECK(has(again.err, "is there already"));
  const Outcome moved =
      run_whittle({"gate", int8_model(), "--against", file, "--baseline", reference_model(), "--text",
                   story(), "--threads", "1", "--update", "--reason", "a better recipe", "--by", "somebody"});
  INFO(moved.err);
  CHECK(moved.exit_code == 0);
  const json history = read_json(file)["history"];
  REQUIRE(history.size() == 2);
  CHECK(history[0]["reason"] == "first");
  CHECK(history[1]["reason"] == "a better recipe");
  CHECK(history[1]["by"] == "somebody");
}

TEST_CASE("gate: a damaged file is refused with its name and the field") {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "bad.json";
  const json good = read_json(stored_gate());
  struct Damage {
    const char* pointer;
    json value;
    const char* named;
  };
  const std::vector<Damage> damages = {{"/schema", "whittle.drift", "schema"},
                                       {"/schema", 7, "schema"},
                                       {"/version", 2, "version"},
                                       {"/inputs", nullptr, "inputs"},
                                       {"/inputs/context", -1, "context"},
                                       {"/inputs/context", 1e300, "context"},
                                       {"/inputs/kv_cache", "int3", "kv_cache"},
                                       {"/inputs/threads", 1025, "threads"},
                                       {"/inputs/special_tokens", json::array(), "special_tokens"},
                                       {"/accuracy/top", json::array(), "top"},
                                       {"/accuracy/top/0/0", 1 << 30, "top"},
                                       {"/accuracy/top/0/0", "a", "top"},
                                       {"/accuracy/window_nll/0", nullptr, "window_nll"},
                                       {"/accuracy/window_nll/0", -1, "window_nll"},
                                       {"/accuracy/window_kl", json::array({1}), "window_kl"},
                                       {"/accuracy/bits", 1, "bits"},
                                       {"/speed/decode_fraction", json::array(), "decode_fraction"},
                                       {"/size/peak_rss_bytes", 0, "peak_rss_bytes"},
                                       {"/layer_errors_percent/head", "much", "head"},
                                       {"/history", json::array(), "history"},
                                       {"/history/0/reason", 3, "reason"}};
  for (const Damage& damage : damages) {
    INFO(damage.pointer << " = " << damage.value.dump());
    json bad = good;
    bad[json::json_pointer(damage.pointer)] = damage.value;
    write_text(file, bad.dump());
    const Outcome outcome = run_whittle({"gate", int8_model(), "--against", file, "--baseline",
                                         reference_model(), "--text", story(), "--threads", "1"});
    CHECK(outcome.exit_code == 1);
    CHECK(lines(outcome.err) == 1);
    CHECK(has(outcome.err, "bad.json"));
    CHECK(has(outcome.err, damage.named));
  }
  for (const std::string text : {"", "{", "[]", "null", "{\"schema\": \"whittle.gate-baseline\"}"}) {
    write_text(file, text);
    CHECK(run_whittle({"gate", int8_model(), "--against", file}).exit_code == 1);
  }
}

TEST_CASE("gate: questions are asked again, and others cannot be compared") {
  const TemporaryFolder folder;
  const fs::path questions = folder.path() / "q.jsonl", file = folder.path() / "gate.json";
  std::string text;
  for (const char* word : {"big", "red", "old", "new"})
    text += json{{"context", "The dog was"}, {"choices", {word, "of"}}, {"answer", 0}}.dump() + "\n";
  write_text(questions, text);
  REQUIRE(
      run_whittle({"gate", int8_model(), "--baseline", reference_model(), "--text", story(), "--characters",
                   "600", "--context", "32", "--threads", "1", "--tasks", questions, "--store", file})
          .exit_code == 0);
  const json stored = read_json(file);
  REQUIRE(stored["tasks"].size() == 1);
  CHECK(stored["tasks"][0]["correct"].size() == 4);
  // Another cache gives other bits, so that all is asked again.
  const fs::path report = folder.path() / "r.json";
  run_whittle(
      {"gate", int8_model(), "--against", file, "--kv-cache", "int8", "--threads", "1", "--json", report});
  const json asked = read_json(report);
  const json& task = check_named(asked, "task q.jsonl");
  CHECK(has(task["reason"].get<std::string>(), "McNemar"));
  fs::rename(questions, folder.path() / "elsewhere.jsonl");
  const std::vector<std::string> again = {"gate", int8_model(), "--against", file, "--threads", "1"};
  CHECK(has(run_whittle(again).err, "q.jsonl"));
  const std::string there = folder.path() / "elsewhere.jsonl";
  CHECK(run_whittle(with(again, {"--tasks", there})).exit_code == 0);
  CHECK(run_whittle(with(again, {"--tasks", there, there})).exit_code == 2);
  write_text(questions, text + text);
  const Outcome other = run_whittle({"gate", int8_model(), "--against", file, "--threads", "1"});
  CHECK(other.exit_code == 5);
  CHECK(has(other.err, "task q.jsonl"));
  json bad = stored;
  bad["tasks"][0]["correct"][1] = 2;
  write_text(file, bad.dump());
  const Outcome refused = run_whittle({"gate", int8_model(), "--against", file, "--threads", "1"});
  CHECK(refused.exit_code == 1);
  CHECK(has(refused.err, "correct"));
}

TEST_CASE("gate: turns with another build") {
  const TemporaryFolder folder;
  const fs::path report = folder.path() / "r.json";
  // Too short to say anything: only that it runs, and is told apart.
  const Outcome timed = check(int8_model(), {"--build", WHITTLE_PROGRAM, "--speed-seconds", "0", "--json",
                                             report, "--max-slowdown", "100000"});
  INFO(timed.err);
  CHECK((timed.exit_code == 0 || timed.exit_code == 4));
  const json found = read_json(report);
  check_schema(found);
  // Time is up after eight. Where other programs take CPUs, some do not count.
  const int64_t rounds = found["speed"]["rounds"], dropped = found["speed"]["dropped_rounds"];
  CHECK(rounds + dropped == 8);
  CHECK(std::ssize(found["speed"]["decode"]["control"]) == rounds);
  const Outcome none = check(int8_model(), {"--build", "/bin/true"});
  CHECK(none.exit_code == 1);
  CHECK(has(none.err, "/bin/true"));
}
