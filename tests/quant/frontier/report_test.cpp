#include "quant/frontier/report.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <limits>
#include <sstream>

#include "bench/reports/table.h"
#include "tests/support/markup.h"
#include "tests/support/reports.h"

using namespace whittle;
using nlohmann::json;
using test::count;
using test::is_well_formed;

namespace {

RecipeResult measured(const std::string& name, int64_t bytes, double speed, double kl) {
  RecipeResult result;
  result.name = name;
  result.recipe = "made up";
  result.status = RecipeResult::Status::measured;
  result.disk_bytes = bytes;
  result.weights = 1000;
  result.peak_rss_bytes = 5 * bytes;
  result.bits_per_weight = 4.5;
  result.decode_tokens_per_s = 100 * speed;
  result.decode_speedup = {speed, 0.9 * speed, 1.1 * speed};
  result.perplexity = 12.5;
  result.kl = {kl, 0.5 * kl, 2 * kl};
  result.same_top_percent = 97.25;
  return result;
}

FrontierReport made_up() {
  FrontierReport report;
  report.model = "a<b>&\"c\"";
  report.version = "0.1";
  report.machine.limits.threads = 1;
  report.text = "<script>alert(1)</script>";
  report.results = {measured("original", 16000000, 1, 1e-7),
                    measured("<b>&'evil'\x01\xff", 8000000, 1.5, 0.001),
                    measured("worse", 9000000, 1.2, 0.02), measured("small", 4000000, 2, 0.1)};
  report.results[0].kind = RecipeKind::original;
  report.results[2].kind = RecipeKind::sparse;
  RecipeResult failed;
  failed.name = "broken";
  failed.status = RecipeResult::Status::failed;
  failed.reason = "no <tensor>";
  report.results.push_back(failed);
  return report;
}

}  // namespace

TEST_CASE("The page stands alone, is well formed and escapes every name") {
  const std::string page = comparison_page(made_up());
  CHECK(is_well_formed(page));
  for (const char* bad : {"<p><b></p></b>", "<p id=\"a\"></p><p id=\"a\"></p>", "<p a=b></p>", "a & b"})
    CHECK_FALSE(is_well_formed(bad));
  for (const char* part : {"<script", "<b>", "http:", "https:", "url(", "@import", "<link", "src="}) {
    INFO(part);
    CHECK(page.find(part) == page.npos);
  }
  CHECK(page.find("&lt;b&gt;&amp;&#39;evil&#39;\\x01\\xff") != page.npos);
  CHECK(page.find("no &lt;tensor&gt;") != page.npos);
  CHECK(page.find("<meta name=\"viewport\"") != page.npos);
}

TEST_CASE("Charts have a title, a description, a mark and a number a point, and no colours") {
  const std::string page = comparison_page(made_up());
  CHECK(count(page, "<svg ") == 2);
  CHECK(count(page, "<desc id=") == 2);
  CHECK(count(page, "role=\"img\"") == 2);
  // Four of five were measured, in two charts; one is dominated in both.
  CHECK(count(page, "<g class=\"full\"><title>") == 6);
  CHECK(count(page, "<g class=\"open\"><title>") == 2);
  CHECK(count(page, "<path class=\"line dashed\"") == 2);
  CHECK(count(page, "<tr>") == 6);
  CHECK(count(page, "<th scope=\"row\"") == 5);
  CHECK(page.find("by 1 &lt;b&gt;") != page.npos);
  for (const char* colour : {"#0", "#f", "rgb(", ": red", ": blue", ": green"})
    CHECK(count(page, colour) == 0);
}

TEST_CASE("A page of what cannot be drawn is still a page") {
  FrontierReport report = made_up();
  for (RecipeResult& result : report.results) {
    result.kl = RecipeResult::no_interval();
    result.decode_speedup.mean = std::numeric_limits<double>::infinity();
  }
  CHECK(is_well_formed(comparison_page(report)));
  CHECK(comparison_page(report).find("nan") == std::string::npos);
  report.results.resize(1);
  report.results[0].kl = {0, 0, 0};
  report.results[0].decode_speedup = {1, 1, 1};
  CHECK(is_well_formed(comparison_page(report)));
  CHECK(comparison_page(report).find("nan") == std::string::npos);
}

TEST_CASE("The JSON names its schema, has every figure or null, and says who dominates whom") {
  const json report = comparison_json(made_up(), {});
  test::check_schema(report);
  CHECK(report["schema"] == "whittle.frontier");
  CHECK(report["version"] == 1);
  const json& recipes = report["recipes"];
  REQUIRE(recipes.size() == 5);
  CHECK(recipes[0]["is_original"] == true);
  CHECK(recipes[2]["dominated_by_size"] == made_up().results[1].name);
  CHECK(recipes[2]["on_frontier_decode"] == false);
  CHECK(recipes[3]["dominated_by_size"].is_null());
  CHECK(recipes[3]["on_frontier_size"] == true);
  CHECK(recipes[1]["prefill_speedup"].is_null());  // not known
  CHECK(recipes[4]["status"] == "failed");
  CHECK(recipes[4]["on_frontier_size"].is_null());
  CHECK(recipes[4]["disk_bytes"].is_null());
  for (const json& recipe : recipes) CHECK(recipe.size() == recipes[0].size());
}

TEST_CASE("A result reads back as it was written") {
  for (const RecipeResult& result : made_up().results) {
    const json written = result_json(result);
    CHECK(json(result_json(read_result(written, "r"))) == written);
  }
  json wrong = result_json(made_up().results[1]);
  wrong["kl_ci95"] = 3;
  CHECK_THROWS_WITH(read_result(wrong, "r"), Catch::Contains("kl_ci95"));
  wrong = result_json(made_up().results[1]);
  wrong["status"] = "well";
  CHECK_THROWS_WITH(read_result(wrong, "r"), Catch::Contains("status"));
}

TEST_CASE("The table fits into 80 columns and names what failed") {
  FrontierReport report = made_up();
  report.results[1].name = std::string(100, 'x');
  std::istringstream lines(comparison_text(report));
  std::string all;
  for (std::string line; std::getline(lines, line); all += line + '\n')
    CHECK(display_width(line) <= report_width);
  CHECK(all.find("failed: no <tensor>") != all.npos);
}
