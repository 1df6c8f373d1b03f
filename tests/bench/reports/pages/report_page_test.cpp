#include "bench/reports/pages/report_page.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <map>

#include "tests/support/markup.h"
#include "tests/support/sample_reports.h"

using namespace whittle;
using nlohmann::json;
using test::count;
using test::is_well_formed;

namespace {

std::string page_of(const std::vector<ReportFile>& files) { return report_page(files, "Some <title>"); }

// Every number of an item's figures that the page must show, by where it stands.
void gather_numbers(const json& value, const std::string& path, std::map<std::string, double>& found) {
  if (value.is_number()) found[path] = value.get<double>();
  if (value.is_object() || value.is_array())
    for (const auto& [key, inner] : value.items()) gather_numbers(inner, path + "/" + key, found);
}

// Calls `use` with each leaf of `json` put to something else in turn.
template <class Use>
void with_each_leaf_changed(const json& report, const json& put, const Use& use) {
  const json leaves = report.flatten();
  size_t i = 0;
  for (const auto& [pointer, value] : leaves.items()) {
    if (++i % 5 != 0) continue;  // enough of them, in a test that is quick
    json changed = report;
    changed[json::json_pointer(pointer)] = put;
    use(changed, pointer);
  }
}

}  // namespace

TEST_CASE("A page of every kind stands alone, is well formed, and reads well without eyes or colour") {
  const std::string page = page_of(test::sample_reports());
  CHECK(is_well_formed(page));
  for (const char* part : {"<script", "http:", "https:", "url(", "@import", "<link", "src=", "nan", "inf<"}) {
    INFO(part);
    CHECK(page.find(part) == page.npos);
  }
  CHECK(page.find("<html lang=\"en\">") != page.npos);
  CHECK(page.find("<meta name=\"viewport\"") != page.npos);
  CHECK(page.find("<h1>Some &lt;title&gt;</h1>") != page.npos);
  const int64_t pictures = count(page, "<svg ");
  CHECK(pictures >= 15);
  CHECK(count(page, "role=\"img\"") == pictures);
  CHECK(count(page, "<desc id=") == pictures);
  CHECK(count(page, "<figure>") == pictures);
  CHECK(count(page, "<table>") > pictures);
  CHECK(count(page, "<caption>") == count(page, "<table>"));
  for (const char* colour : {"#0", "#f", "rgb(", ": red", ": blue"}) CHECK(count(page, colour) == 0);
  // Headings go down a level at a time.
  int level = 0;
  for (size_t at = page.find("<h"); at != page.npos; at = page.find("<h", at + 1)) {
    const char digit = page[at + 2];
    if (digit < '1' || digit > '6') continue;
    CHECK(digit - '0' <= level + 1);
    level = digit - '0';
  }
}

TEST_CASE("Every figure of a report stands in a table") {
  for (const ReportFile& file : test::sample_reports()) {
    std::vector<double> shown;
    for (const std::string& cell : test::table_cells(page_of({file}))) {
      char* end = nullptr;
      const double value = std::strtod(cell.c_str(), &end);
      if (end != cell.c_str()) shown.push_back(value);
    }
    std::map<std::string, double> numbers;
    gather_numbers(file.json, "", numbers);
    for (const auto& [path, value] : numbers) {
      // Said in another unit, as a part of 100, within words, or of no use to a reader.
      const auto stands = [&](const char* part) { return path.find(part) != path.npos; };
      if (stands("bytes") || stands("samples") || stands("spread") || stands("histogram") ||
          stands("version"))
        continue;
      if (stands("ci95") || stands("range") || stands("interval") || stands("limit") || stands("share"))
        continue;
      if (stands("window_") || stands("slope") || stands("seconds") || stands("items") || stands("embedding"))
        continue;
      if (stands("nll") || stands("baseline") || stands("input_error") || stands("layers/tokens")) continue;
      if (stands("p50") && file.schema == "whittle.drift") continue;
      if (stands("points/") && stands("rounds")) continue;
      INFO(file.schema << " " << path << " " << value);
      CHECK(std::ranges::any_of(
          shown, [&](double cell) { return std::abs(cell - value) <= 1e-4 * std::abs(value); }));
    }
  }
}

TEST_CASE("Bars, windows and points over time stand in tables too") {
  const auto has_cell = [](const ReportFile& file, const std::string& text) {
    const std::vector<std::string> cells = test::table_cells(page_of({file}));
    return std::ranges::count(cells, text) > 0;
  };
  CHECK(has_cell(test::bench_report(), "60"));          // % of steps
  CHECK(has_cell(test::drift_report(), "0.015625"));    // a window's likelihood above the baseline's
  CHECK(has_cell(test::soak_report(), "24.163"));       // MB at the beginning
  CHECK(has_cell(test::soak_report(), "0.205078"));     // ms at the end
  CHECK(has_cell(test::gate_report(), "18.4"));         // budgets
  CHECK(has_cell(test::frontier_report(), "8.49322"));  // MB
}

TEST_CASE("Several files of a kind stand side by side, told apart by letters and strokes") {
  const std::string page = page_of({test::bench_report(1), test::bench_report(1.5)});
  CHECK(is_well_formed(page));
  CHECK(page.find("A model-int8") != page.npos);
  CHECK(page.find("B model-int8") != page.npos);
  CHECK(page.find("line dashed") != page.npos);
  CHECK(page.find("+50.0 % better") != page.npos);
}

TEST_CASE("Names from files are text and never markup") {
  const std::string evil = "<script>alert('1')</script>&\"\x01\xff\u202e";
  for (ReportFile file : test::sample_reports()) {
    json flat = file.json.flatten();
    for (auto& [pointer, value] : flat.items())
      if (value.is_string() && pointer.find("schema") == pointer.npos) value = evil + pointer;
    file.json = flat.unflatten();
    file.path = evil;
    const std::string page = page_of({file, file});
    INFO(file.schema);
    CHECK(is_well_formed(page));
    CHECK(page.find("<script") == page.npos);
    CHECK(page.find("&lt;script&gt;alert(&#39;1&#39;)") != page.npos);
    CHECK(page.find('\x01') == page.npos);
    CHECK(page.find("\u202e") == page.npos);
  }
}

TEST_CASE("A report of which any part is missing, odd or beyond all measure is still a page") {
  for (const ReportFile& file : test::sample_reports())
    for (const json& put :
         {json(), json("text"), json(1e308), json(-1), json(0), json::array(), json::object()})
      with_each_leaf_changed(file.json, put, [&](const json& changed, const std::string& pointer) {
        const ReportFile odd{file.path, file.schema, 1, changed};
        const std::string page = page_of({odd});
        if (!is_well_formed(page) || page.find("nan") != page.npos || page.find(">inf") != page.npos)
          FAIL_CHECK(file.schema << " " << pointer << " = " << put.dump());
      });
  for (const ReportFile& file : test::sample_reports())
    CHECK(is_well_formed(page_of({{file.path, file.schema, 1, json::object()}})));
}

TEST_CASE("A report with thousands of everything makes a page of bounded size") {
  ReportFile soak = test::soak_report(), bench = test::bench_report(), drift = test::drift_report();
  const json point = soak.json["points"][0], changed = soak.json["changed"][0], cell = bench.json["cells"][0],
             layer = drift.json["layers"]["layers"][0];
  for (int i = 0; i < 5000; ++i) {
    soak.json["points"].push_back(point);
    soak.json["changed"].push_back(changed);
    drift.json["layers"]["layers"].push_back(layer);
    drift.json["window_nll"]["baseline"].push_back(2.5);
    drift.json["window_nll"]["model"].push_back(2.75);
  }
  for (int i = 0; i < 2000; ++i) {
    bench.json["cells"].push_back(cell);
    bench.json["cells"].back()["context"] = i;
  }
  for (const ReportFile& file : {soak, bench, drift}) {
    const std::string page = page_of({file});
    INFO(file.schema << " " << page.size());
    CHECK(page.size() < 3000000);
    CHECK(page.find("left out") != page.npos);
  }
}
