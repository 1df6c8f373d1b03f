// `whittle soak` from outside: reports, and a signal that ends it early.

#include <catch2/catch.hpp>
#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/support/commands.h"
#include "tests/support/reports.h"

using namespace whittle::test;
using nlohmann::json;
using namespace std::chrono_literals;

namespace {

struct Tiny {
  TemporaryFolder folder;
  Tiny() { write_tiny_model(folder.path(), {.vocab_size = 61}); }
  std::string path() const { return folder.path(); }
};

}  // namespace

TEST_CASE("A short soak repeats its answers, and its report has every figure") {
  const Tiny tiny;
  // Slowness is the machine's own in a test; growth and answers are not.
  const Outcome outcome =
      run_whittle({"soak", tiny.path(), "--minutes", "0.02", "--sequences", "2", "--threads", "1",
                   "--max-slowdown", "1000000", "--max-growth", "1.5G", "--json", "-"});
  INFO(outcome.err);
  REQUIRE(outcome.exit_code == 0);
  const json report = parse_report(outcome.out);
  CHECK(report["schema"] == "whittle.soak");
  CHECK(report["version"] == 1);
  CHECK(report["anonymous_bytes"]["limit"] == 1.5 * (1 << 30));
  CHECK(report["answers_changed"] == 0);
  CHECK(report["rounds"] > 1);
  CHECK(report["answers"] == 6 * report["rounds"].get<int64_t>());
  CHECK(report["passes"] == true);
  CHECK(report["interrupted"] == false);
  CHECK(report["points"].size() <= 1000);
  CHECK(report["points"][0]["anonymous_bytes"] > 0);
  CHECK(report["points"][0]["decode_ms_per_token"] > 0);
}

TEST_CASE("Sizes are bytes, or have a unit of 1024 of the one before") {
  const Tiny tiny;
  for (const auto& [text, bytes] : std::vector<std::pair<std::string, double>>{{"1000", 1000},
                                                                               {"0", 0},
                                                                               {"2k", 2048},
                                                                               {"2KiB", 2048},
                                                                               {"1e3B", 1000},
                                                                               {"0.5g", 1 << 29},
                                                                               {"1024T", 0x1p50}}) {
    const Outcome outcome = run_whittle(
        {"soak", tiny.path(), "--minutes", "0", "--max-growth", text, "--threads", "1", "--json", "-"});
    INFO(text << outcome.err);
    REQUIRE(outcome.exit_code == 0);
    CHECK(parse_report(outcome.out)["anonymous_bytes"]["limit"] == bytes);
  }
}

TEST_CASE("A soak that is interrupted reports what it has, and ends by the signal") {
  const Tiny tiny;
  const std::string report = tiny.folder.path() / "soak.json";
  Child child(whittle_command({"soak", tiny.path(), "--threads", "1", "--json", report}));
  std::this_thread::sleep_for(500ms);
  REQUIRE_FALSE(child.ended());
  child.send(SIGINT);
  const Outcome outcome = child.wait();
  CHECK(outcome.signal == SIGINT);
  CHECK(has(outcome.out, "interrupted"));
  const json found = parse_report(read_text(report));
  CHECK(found["interrupted"] == true);
  CHECK(found["answers_changed"] == 0);
}

TEST_CASE("A soak that cannot be is wrong usage") {
  const Tiny tiny;
  for (const std::vector<std::string>& flags : {std::vector<std::string>{"--minutes", "-1"},
                                                {"--minutes", "nan"},
                                                {"--sequences", "0"},
                                                {"--max-growth", "x"}}) {
    INFO(json(flags).dump());
    CHECK(run_whittle(with({"soak", tiny.path()}, flags)).exit_code == 2);
  }
}
