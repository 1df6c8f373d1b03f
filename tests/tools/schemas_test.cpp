// A report of every kind, from the command that writes it, as its schema says.

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <set>

#include "bench/reports/report_file.h"
#include "tests/support/commands.h"
#include "tests/support/markup.h"
#include "tests/support/reports.h"
#include "tests/support/two_models.h"

using namespace whittle;
using namespace whittle::test;
using nlohmann::json;

namespace {

// Two models of letters and all that commands read beside them.
struct Inputs {
  TwoModels models;
  std::filesystem::path folder = models.folder.path(), wide = folder / "wide", text = folder / "text.txt",
                        ids = folder / "ids.json", tasks = folder / "quiz.jsonl",
                        recipes = folder / "recipes", gate = folder / "gate.json";

  Inputs() {
    write_text(text, letters(200));
    write_text(ids, "[[1, 2, 3, 4, 5, 6], [4, 5, 6, 7], [3, 1, 2, 5]]");
    write_text(tasks, R"({"context": "abc", "choices": ["d", "e"], "answer": 0})");
    std::filesystem::create_directory(recipes);
    write_text(recipes / "int8.json", R"({"whittle_recipe": 1, "method": "rtn"})");
    std::filesystem::create_directory(wide);
    write_tiny_model(wide, {.hidden_size = 64, .intermediate_size = 96, .num_key_value_heads = 2});
  }
  std::vector<std::string> gated(const std::vector<std::string>& more) const {
    return with({"gate", models.model}, more);
  }
};

struct Run {
  std::string schema;
  std::vector<std::string> arguments;
  std::string report = "-";  // where it is written without --json
  int exit_code = 0;
};

std::vector<Run> runs(const Inputs& in) {
  const std::string &model = in.models.model, &baseline = in.models.baseline;
  const auto file = [&](const char* name) { return (in.folder / name).string(); };
  return {
      {"machine", {"machine"}},
      {"inspect", {"inspect", model}},
      {"generate", {"generate", model, "--prompt", "abc", "--max-tokens", "3"}},
      {"bench",
       {"bench", model, "--baseline", baseline, "--text", in.text, "--prompt-tokens", "8", "--gen-tokens",
        "2", "--repeat", "1", "--energy"}},
      {"drift", {"drift", model, "--baseline", baseline, "--text", in.text, "--context", "16", "--layers"}},
      {"tasks", {"tasks", model, "--baseline", baseline, "--tasks", in.tasks, "--max-loss", "100"}},
      {"gate-baseline",
       in.gated({"--baseline", baseline, "--text", in.text, "--context", "16", "--tasks", in.tasks, "--store",
                 in.gate}),
       in.gate},
      {"gate", in.gated({"--against", in.gate})},
      {"estimate", {"estimate", "smollm-135m", "--memory-only"}},
      {"soak", {"soak", model, "--minutes", "0"}},
      {"quantize", {"quantize", baseline, file("int8"), "--effort", "fast"}},
      {"quantize-budgets",
       {"quantize", in.wide, file("mixes"), "--calibration", in.ids, "--target-bits", "5,6"}},
      {"prune", {"prune", in.wide, file("short"), "--drop-kv-heads", "1", "--calibration", in.ids}},
      {"frontier",
       // No time for more than the original.
       {"frontier", baseline, "--recipes", in.recipes, "--text", in.text, "--html", file("page.html"),
        "--minutes", "0.01"}},
  };
}

// As builds wrote it before reports had a header, and a frontier its own: what a reader makes of it.
json older(json report, const std::string& file) {
  const bool frontier = report["schema"] == "whittle.frontier";
  for (const char* key : {"schema", "version", "fingerprint"}) report.erase(key);
  if (frontier) report.update({{"schema", "whittle-frontier"}, {"schema_version", 1}, {"version", "0.1.0"}});
  write_text(file, report.dump());
  return read_report(file).json;
}

}  // namespace

TEST_CASE("Each command writes what its schema says, and it reads back") {
  const Inputs inputs;
  // No report; another program's, tested with it; compare_test.cpp's.
  std::set<std::string> seen = {"common", "compare-peers", "compare"};
  std::vector<std::string> files;
  for (const Run& run : runs(inputs)) {
    const std::string own = inputs.folder / (run.schema + ".json");
    const std::string& file = run.report == "-" ? own : run.report;
    std::vector<std::string> arguments = with(run.arguments, {"--threads", "1"});
    if (run.report == "-") arguments = with(arguments, {"--json", file});
    INFO(json(arguments).dump());
    const Outcome outcome = run_whittle(arguments);
    INFO(outcome.err);
    REQUIRE(outcome.exit_code == run.exit_code);
    const json report = parse_report(read_text(file));
    CHECK(report["schema"] == "whittle." + run.schema);
    const json& fingerprint = report["fingerprint"];
    CHECK(fingerprint["threads"] == 1);
    CHECK(fingerprint["models"].empty() == (run.schema == "machine"));
    CHECK(read_report(file).json == report);
    files.push_back(file);
    json without = report;
    without["fingerprint"] = nullptr;
    constexpr std::array named = {"bench", "drift", "tasks", "gate-baseline", "gate", "estimate", "soak"};
    if (std::ranges::find(named, run.schema) == named.end())
      CHECK(older(report, inputs.folder / "older.json") == without);
    seen.insert(run.schema);
  }
  for (const EmbeddedSchema& schema : embedded_schemas()) {
    INFO(schema.name);
    CHECK(seen.count(std::string(schema.name)) == 1);
  }
  // All of them make a page, and each beside itself is the same.
  const Outcome page = run_whittle(with({"report", "--html", inputs.folder / "all.html"}, files));
  INFO(page.err);
  CHECK(page.exit_code == 0);
  CHECK(is_well_formed(read_text(inputs.folder / "all.html")));
  const Outcome same = run_whittle(with(with({"compare"}, files), files));
  INFO(same.err);
  CHECK(same.exit_code == 0);
  CHECK_FALSE(has(same.out, "unsure"));
  CHECK_FALSE(has(same.out, "nothing to compare it with"));
  // Models, texts and tasks are told by what is in them: the same in every report, whatever they are called.
  const auto of = [&](const char* schema) {
    return read_report(inputs.folder / (std::string(schema) + ".json")).json["fingerprint"];
  };
  CHECK(of("bench")["models"] == of("drift")["models"]);
  CHECK(of("bench")["models"][1] == of("generate")["models"][0]);
  CHECK(of("bench")["models"][0]["weights_hash"] != of("bench")["models"][1]["weights_hash"]);
  CHECK(of("bench")["models"][0]["config_hash"] == of("bench")["models"][1]["config_hash"]);
  CHECK(of("bench")["texts"] == of("drift")["texts"]);
  CHECK(of("gate")["tasks"] == of("tasks")["tasks"]);
}
