// Reports that the program wrote, compared and made into a page.

#include <catch2/catch.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/support/commands.h"
#include "tests/support/markup.h"
#include "tests/support/reports.h"

namespace fs = std::filesystem;
using namespace whittle::test;
using nlohmann::json;

namespace {

// One line on standard error that names the file, and no output.
void check_refused(const std::vector<std::string>& arguments, const std::string& named) {
  INFO(json(arguments).dump());
  const Outcome outcome = run_whittle(arguments);
  INFO(outcome.err);
  CHECK(outcome.exit_code == 1);
  CHECK(outcome.out.empty());
  CHECK(lines(outcome.err) == 1);
  CHECK(has(outcome.err, named));
}

}  // namespace

TEST_CASE("Drift of two models side by side: what is worse, and what differs") {
  const TemporaryFolder folder;
  const std::string markdown = folder.path() / "c.md";
  const std::vector<std::string> compare = {"compare", two_reports()[1], two_reports()[0]};
  const Outcome text = run_whittle(with(compare, {"--markdown", markdown}));
  CHECK(text.exit_code == 0);
  CHECK(text.err.empty());
  CHECK(has(text.out, "KL divergence"));
  CHECK(has(text.out, "worse"));
  CHECK(has(text.out, "what is compared: "));
  CHECK_FALSE(has(text.out, "NOT THE SAME"));
  CHECK(has(read_text(markdown), "| KL divergence"));

  const json report = parse_report(run_whittle(with(compare, {"--json", "-"})).out);
  CHECK(report["groups"].size() == 1);
  CHECK(report["groups"][0]["files"] == json({"A", "B"}));
  bool found = false;
  for (const json& row : report["groups"][0]["rows"])
    if (row["figure"] == "KL divergence") {
      found = true;
      CHECK(row["from_first"][0]["finding"] == "worse");
      CHECK(row["values"][1] > row["values"][0]);
    }
  CHECK(found);
}

TEST_CASE("A page appears complete, or what was there stays") {
  const TemporaryFolder folder;
  const std::string page = folder.path() / "page.html", bad = folder.path() / "bad.json";
  const Outcome made =
      run_whittle({"report", two_reports()[0], two_reports()[1], "--html", page, "--title", "<b>Two</b>"});
  CHECK(made.exit_code == 0);
  CHECK(has(made.out, page));
  const std::string html = read_text(page);
  CHECK(is_well_formed(html));
  CHECK(has(html, "<h1>&lt;b&gt;Two&lt;/b&gt;</h1>"));
  CHECK(count(html, "<svg ") >= 3);

  write_text(bad, "{\"schema\": \"whittle.bench\", ");
  check_refused({"report", two_reports()[0], bad, "--html", page}, bad);
  CHECK(read_text(page) == html);
  CHECK(run_whittle({"report", two_reports()[0], "--html", "-"}).out.starts_with("<!DOCTYPE html>"));
  CHECK(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()) == 2);
}

TEST_CASE("Reports that are none, or have nothing in common, are refused in a line") {
  const TemporaryFolder folder;
  const std::string good = two_reports()[0], bad = folder.path() / "bad.json",
                    model = folder.path() / "model.json", page = folder.path() / "page.html";
  for (const char* text :
       {"", "[]", "{}", "null", "{\"schema\": \"whittle.other\", \"version\": 1}",
        "{\"schema\": \"whittle.drift\", \"version\": 99}", "\xff\xfe", "{\"schema\": 3}"}) {
    write_text(bad, text);
    check_refused({"compare", good, bad}, bad);
    check_refused({"report", bad, "--html", page}, bad);
  }
  check_refused({"compare", good, folder.path()}, folder.path());
  REQUIRE(run_whittle({"inspect", int8_model(), "--threads", "1", "--json", model}).exit_code == 0);
  check_refused({"compare", good, model}, "same kind");
  CHECK_FALSE(fs::exists(page));
}

TEST_CASE("Reports of bench, a cell each, are compared by their repeats") {
  const TemporaryFolder folder;
  const std::string first = folder.path() / "1.json", faster = folder.path() / "2.json",
                    page = folder.path() / "page.html";
  REQUIRE(run_whittle({"bench", reference_model(), "--prompt-tokens", "8", "--gen-tokens", "4", "--repeat",
                       "4", "--threads", "1", "--profile", "--json", first})
              .exit_code == 0);
  json report = parse_report(read_text(first));
  json& cell = report["cells"][0];
  REQUIRE(cell["samples"]["decode_tokens_per_s"].size() == 4);
  int64_t steps = 0;
  for (const json& bar : cell["itl_histogram_ms"]["counts"]) steps += bar.get<int64_t>();
  CHECK(steps == 4 * 4);
  for (json& speed : cell["samples"]["decode_tokens_per_s"]) speed = 1000 * speed.get<double>();
  cell["decode_tokens_per_s"] = 1000 * cell["decode_tokens_per_s"].get<double>();
  write_text(faster, report.dump());
  const Outcome outcome = run_whittle({"compare", first, faster, "--json", "-"});
  const json compared = parse_report(outcome.out);
  for (const json& row : compared["groups"][0]["rows"]) {
    const json& judged = row["from_first"][0];
    CHECK(judged["finding"] == (row["figure"] == "decode" ? "better" : "same"));
    if (row["figure"] == "decode") CHECK(judged["basis"] == "repeats");
  }
  CHECK(run_whittle({"report", first, faster, "--html", page}).exit_code == 0);
  CHECK(is_well_formed(read_text(page)));
  for (const char* picture : {"Latency between tokens", "Roofline", "Decoding speed"})
    CHECK(has(read_text(page), picture));
}
