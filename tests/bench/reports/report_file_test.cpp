// Reports read again: those of earlier builds, and those of strangers.

#include "bench/reports/report_file.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "bench/fingerprint.h"
#include "bench/reports/json_report.h"
#include "kernels/error.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_model.h"

using namespace whittle;
using nlohmann::json;

namespace {

json generated() {
  json report = report_header("generate", {.threads = 1, .models = {{"model", "m"}}});
  report.update({{"text", "a"},
                 {"ids", {1, 2}},
                 {"prompt_tokens", 3},
                 {"finish_reason", "max tokens"},
                 {"ttft_ms", 1.5},
                 {"prefill_tokens_per_s", 10},
                 {"decode_tokens_per_s", nullptr}});
  return report;
}

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  const size_t at = text.find(what);
  REQUIRE(at != text.npos);
  return text.replace(at, what.size(), by);
}

}  // namespace

TEST_CASE("A report is read as it was written") {
  const test::TemporaryFolder folder;
  const std::string file = folder.path() / "r.json";
  write_json(file, generated());
  const ReportFile read = read_report(file);
  CHECK(read.path == file);
  CHECK(read.schema == "whittle.generate");
  CHECK(read.version == 1);
  CHECK(read.json == generated());
}

TEST_CASE("A report from before it had a header, or a fingerprint, gets one") {
  const test::TemporaryFolder folder;
  const std::string file = folder.path() / "r.json";
  json report = generated();
  report.erase("fingerprint");
  write_json(file, report);
  CHECK(read_report(file).json["fingerprint"].is_null());
  report.erase("schema");
  report.erase("version");
  write_json(file, report);
  const ReportFile read = read_report(file);
  CHECK(read.schema == "whittle.generate");
  CHECK(read.json["version"] == 1);
  CHECK(read.json["ids"] == report["ids"]);
}

TEST_CASE("What is no report is refused by the file's name and the place in it") {
  const test::TemporaryFolder folder;
  const std::string file = folder.path() / "r.json", good = generated().dump();
  struct Case {
    std::string what, text, named;
  };
  const std::vector<Case> cases = {
      {"empty", "", "JSON"},
      {"cut short", good.substr(0, good.size() / 2), "JSON"},
      {"two of them", good + good, "JSON"},
      {"NaN", replaced(good, "1.5", "NaN"), "JSON"},
      {"beyond all numbers", replaced(good, "1.5", "1e999"), "1e999"},
      {"a count that no integer holds", replaced(good, "[1,2]", "[1,18446744073709551615]"), "/ids/1"},
      {"no UTF-8", replaced(good, "\"a\"", "\"\xff\""), "JSON"},
      {"a key twice", replaced(good, "\"ids\"", "\"text\":\"b\",\"ids\""), "text"},
      {"deep", std::string(100, '[') + std::string(100, ']'), "64"},
      {"no object", "[]", "report"},
      {"no report", "{\"a\": 1}", "schema"},
      {"a schema that is none", replaced(good, "whittle.generate", "whittle.\\u001b[2J"), "schema"},
      {"somebody else's schema", replaced(good, "whittle.generate", "other.generate"), "schema"},
      {"not a schema of a report", replaced(good, "whittle.generate", "whittle.common"), "schema"},
      {"a path as schema", replaced(good, "whittle.generate", "whittle.../schemas/generate"), "schema"},
      {"a schema of another type", replaced(good, "\"whittle.generate\"", "7"), "schema"},
      {"another schema", replaced(good, "whittle.generate", "whittle.prune"), ""},
      {"a newer version", replaced(good, "\"version\":1", "\"version\":2"), "newer"},
      {"version 0", replaced(good, "\"version\":1", "\"version\":0"), "version"},
      {"a version in words", replaced(good, "\"version\":1", "\"version\":\"1\""), "version"},
      {"a wrong type", replaced(good, "[1,2]", "[1,\"2\"]"), "/ids/1"},
      {"a negative count", replaced(good, "\"prompt_tokens\":3", "\"prompt_tokens\":-3"), "/prompt_tokens"},
      {"a part of a token", replaced(good, "\"prompt_tokens\":3", "\"prompt_tokens\":2.5"), "/prompt_tokens"},
      {"no such reason", replaced(good, "max tokens", "boredom"), "/finish_reason"},
      {"null where there is always a figure", replaced(good, "\"prompt_tokens\":3", "\"prompt_tokens\":null"),
       "/prompt_tokens"},
      {"a missing key", replaced(good, "\"ttft_ms\":1.5,", ""), "ttft_ms"},
      {"one that is not known", replaced(good, "\"ttft_ms\"", "\"x\\u001b\":1,\"ttft_ms\""), "x\\x1b"},
      {"a key without an end",
       replaced(good, "\"ttft_ms\"", '"' + std::string(100000, 'k') + "\":1,\"ttft_ms\""), "kkk"},
      {"a wrong fingerprint", replaced(good, "\"threads\":1", "\"threads\":\"all\""), "/fingerprint/threads"},
  };
  for (const auto& [what, text, named] : cases) {
    INFO(what);
    test::write_text(file, text);
    try {
      read_report(file);
      FAIL_CHECK("it was read");
    } catch (const Error& error) {
      const std::string message = error.what();
      INFO(message);
      CHECK(message.size() < 1000);
      CHECK(message.starts_with(file + ": "));
      CHECK(message.find('\x1b') == std::string::npos);
      CHECK(message.find(named) != std::string::npos);
    }
  }
  CHECK_THROWS_WITH(read_report(folder.path()), Catch::Contains("folder"));
  CHECK_THROWS_WITH(read_report(file + ".none"), Catch::Contains("no such file"));
}

TEST_CASE("Numbers that are not finite are null in a report, and so it is read") {
  const test::TemporaryFolder folder;
  const std::string file = folder.path() / "r.json";
  json report = generated();
  report["ttft_ms"] = std::nan("");
  write_json(file, report);
  CHECK(read_report(file).json["ttft_ms"].is_null());
}
