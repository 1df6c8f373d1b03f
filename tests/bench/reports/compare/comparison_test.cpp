#include "bench/reports/compare/comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "bench/reports/compare/comparison_report.h"
#include "bench/reports/table.h"
#include "tests/support/lines.h"
#include "tests/support/sample_reports.h"

using namespace whittle;
using nlohmann::json;
using test::bench_report;
using test::drift_report;

namespace {

const ReportRow* row_of(const ReportGroup& group, const std::string& item, const std::string& label) {
  for (const ReportRow& row : group.rows)
    if (row.item == item && row.label == label) return &row;
  return nullptr;
}

const Condition* differing(const ReportGroup& group, const std::string& name) {
  for (const Condition& condition : group.conditions)
    if (condition.name == name && condition.differs()) return &condition;
  return nullptr;
}

}  // namespace

TEST_CASE("Figures of models are matched by name, and the speed's direction is told") {
  const std::vector<ReportFile> files = {bench_report(1), bench_report(1.5)};
  const std::vector<ReportGroup> groups = compare_reports(files);
  REQUIRE(groups.size() == 1);
  const ReportRow* decode = row_of(groups[0], "model-int8", "decode");
  REQUIRE(decode);
  CHECK(decode->values == std::vector<double>{2 * 86.75, 3 * 86.75});
  REQUIRE(decode->from_first.size() == 1);
  CHECK(decode->from_first[0].finding == Finding::better);
  CHECK(decode->from_first[0].change == Approx(1.5));
  CHECK(row_of(groups[0], "model-int8", "time to first token")->from_first[0].finding == Finding::better);
  CHECK(row_of(groups[0], "original", "on disk")->from_first[0].finding == Finding::same);
}

TEST_CASE("Cells of a sweep are matched by model and setting") {
  const std::vector<ReportFile> files = {bench_report(1, {1, 2, 4}), bench_report(1, {2, 4, 8})};
  const ReportGroup group = compare_reports(files).at(0);
  const auto values = [&](const std::string& item) { return row_of(group, item, "decode")->values; };
  CHECK(values("model-int8, threads 2") == std::vector<double>{2 * 86.75, 2 * 86.75});
  CHECK(values("model-int8, threads 4")[1] == 4 * 86.75);
  CHECK(std::isnan(values("model-int8, threads 1")[1]));
  CHECK(std::isnan(values("model-int8, threads 8")[0]));
  // A sweep beside a run of one setting.
  const std::vector<ReportFile> mixed = {bench_report(1, {1, 2}), bench_report(1, {2})};
  CHECK(row_of(compare_reports(mixed).at(0), "original, threads 2", "decode")->values.size() == 2);
}

TEST_CASE("A machine, work and subject that differ are told, the machine first") {
  std::vector<ReportFile> files = {bench_report(1, {1}), bench_report(1, {2})};
  files[1].json["machine"]["cpu"] = "Another CPU";
  files[1].json["protocol"]["prompt_tokens"] = 128;
  files[0].json["fingerprint"] = {{"program", {{"commit", "abc"}}}, {"threads", 1}};
  files[1].json["fingerprint"] = {{"program", {{"commit", "def"}}}, {"threads", 2}};
  const ReportGroup group = compare_reports(files).at(0);
  REQUIRE(differing(group, "threads"));
  CHECK(differing(group, "threads")->kind == ConditionKind::machine);
  CHECK(differing(group, "threads")->values == std::vector<std::string>{"1", "2"});
  REQUIRE(differing(group, "cpu"));
  CHECK(differing(group, "cpu")->kind == ConditionKind::machine);
  REQUIRE(differing(group, "prompt tokens"));
  CHECK(differing(group, "prompt tokens")->kind == ConditionKind::work);
  REQUIRE(differing(group, "program commit"));
  CHECK(differing(group, "program commit")->kind == ConditionKind::subject);
  CHECK_FALSE(differing(group, "isa"));
  const std::vector<std::string> notes = difference_notes(group);
  REQUIRE(notes.size() == 3);
  CHECK(notes[0].find("MACHINE") != std::string::npos);
  CHECK(notes[0].find("A: Some CPU, B: Another CPU") != std::string::npos);
  const std::string text = compared_text({files, std::vector{group}});
  CHECK(text.find("NOT THE SAME MACHINE") < text.find("decode"));
  CHECK(compared_json({files, std::vector{group}})["groups"][0]["differing"].size() >= 4);
}

TEST_CASE("Reports of one model each are compared whatever its name, which is told") {
  const std::vector<ReportFile> files = {drift_report(0, "model-int8"), drift_report(1, "model-int4")};
  const ReportGroup group = compare_reports(files).at(0);
  REQUIRE(row_of(group, "", "perplexity"));
  CHECK(row_of(group, "", "perplexity")->from_first[0].finding == Finding::worse);
  REQUIRE(differing(group, "model"));
  CHECK(differing(group, "model")->kind == ConditionKind::subject);
}

TEST_CASE("A model alone is found among several of another report") {
  const ReportFile one = drift_report(0, "model-int8");
  ReportFile set = test::report_file("drift", {{"reports", json::array()}, {"means", json::array()}});
  for (const char* model : {"model-int4", "model-int8"}) {
    set.json["reports"].push_back(drift_report(0.5, model).json);
    set.json["means"].push_back(drift_report(0.5, model).json);
  }
  const std::vector<ReportFile> files = {one, set};
  const ReportGroup group = compare_reports(files).at(0);
  REQUIRE(row_of(group, "model-int8", "perplexity"));
  CHECK(row_of(group, "model-int8", "perplexity")->values == std::vector<double>{24.625, 25.125});
  const std::string text = compared_text({files, std::vector{group}});
  CHECK(text.find("only in B: model-int4; model-int4, all texts; model-int8, all texts") !=
        std::string::npos);
}

TEST_CASE("Kinds stand apart, and what has no counterpart is left out") {
  const std::vector<ReportFile> files = {bench_report(1), drift_report(), bench_report(2),
                                         test::gate_report(), drift_report(1)};
  const std::vector<ReportGroup> groups = compare_reports(files);
  REQUIRE(groups.size() == 2);
  CHECK(groups[0].letters == std::vector<std::string>{"A", "C"});
  CHECK(groups[1].letters == std::vector<std::string>{"B", "E"});
  const std::string text = compared_text({files, groups});
  CHECK(text.find("D: gate.json (Gate; nothing to compare it with)") != std::string::npos);
}

TEST_CASE("What cannot be compared is one clear error") {
  const std::vector<ReportFile> alone = {bench_report(), drift_report()};
  CHECK_THROWS_WITH(compare_reports(alone), Catch::Contains("same kind"));
  // Machines of no figure, so that models alone could be matched.
  std::vector<ReportFile> apart = {bench_report(1, {1}, "a"), bench_report(1, {1}, "b")};
  apart[0].json["machine"] = apart[1].json["machine"] = nullptr;
  for (const char* items : {"models", "cells"}) {
    apart[0].json[items][0][items == std::string("models") ? "name" : "model"] = "c";
    apart[1].json[items][0][items == std::string("models") ? "name" : "model"] = "d";
  }
  CHECK_THROWS_WITH(compare_reports(apart), Catch::Contains("no figure in common"));
  const std::vector<ReportFile> foreign = {test::report_file("nothing", json::object(), "odd.json"),
                                           test::report_file("nothing", json::object())};
  CHECK_THROWS_WITH(compare_reports(foreign), Catch::Contains("odd.json"));
}

TEST_CASE("Items of one name are told apart by their number") {
  std::vector<ReportFile> files = {bench_report(), bench_report()};
  for (ReportFile& file : files) file.json["cells"].push_back(file.json["cells"][1]);
  const ReportGroup group = compare_reports(files).at(0);
  CHECK(row_of(group, "model-int8, cell 2", "decode"));
}

TEST_CASE("The table fits into 80 columns for any number of reports, with names as long as you like") {
  std::vector<ReportFile> files;
  for (int i = 0; i < 6; ++i)
    files.push_back(bench_report(1 + 0.25 * i, {1, 2}, fmt::format("{:m>60}{}", "", "\x1b[31m\xff")));
  files[3].path = fmt::format("{:p>300}/bench.json", "");
  const std::vector<ReportGroup> groups = compare_reports(files);
  for (const std::string& line : test::lines_of(compared_text({files, groups}))) {
    INFO(line);
    CHECK(display_width(line) <= report_width);
    CHECK(line.find('\x1b') == line.npos);
  }
  const std::string markdown = compared_markdown({files, groups});
  CHECK(markdown.find('\x1b') == markdown.npos);
  CHECK(std::count(markdown.begin(), markdown.end(), '\n') > 50);
}

TEST_CASE("The JSON of a comparison has every figure, and null where there is none") {
  const std::vector<ReportFile> files = {bench_report(1), bench_report(2), bench_report(3)};
  const std::vector<ReportGroup> groups = compare_reports(files);
  const json report = compared_json({files, groups});
  CHECK(report["schema"] == "whittle.compare");
  CHECK(report["files"].size() == 3);
  REQUIRE(report["groups"].size() == 1);
  REQUIRE(report["groups"][0]["rows"].size() == groups[0].rows.size());
  for (const json& row : report["groups"][0]["rows"]) {
    CHECK(row["values"].size() == 3);
    CHECK(row["from_first"].size() == 2);
    for (const json& judged : row["from_first"]) {
      CHECK(judged.size() == report["groups"][0]["rows"][0]["from_first"][0].size());
      CHECK(judged["ratio"].is_number() + judged["difference"].is_number() <= 1);
    }
  }
}

TEST_CASE("A report of twenty thousand rows is cut, and the rest counted") {
  std::vector<ReportFile> files(2, test::report_file("quantize", {{"modules", 1}}));
  for (ReportFile& file : files)
    for (int i = 0; i < 20000; ++i)
      file.json["output_errors"].push_back({{"module", fmt::format("m{}", i)}, {"relative_error", 0.5 + i}});
  const ReportGroup group = compare_reports(files).at(0);
  CHECK(group.rows.size() <= 2000);
  CHECK(group.left_out > 17000);
}
