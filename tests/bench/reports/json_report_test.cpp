#include "bench/reports/json_report.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <fstream>
#include <iterator>

#include "kernels/error.h"
#include "tests/support/paths.h"

using namespace whittle;
namespace fs = std::filesystem;

namespace {

nlohmann::json read(const fs::path& path) { return nlohmann::json::parse(std::ifstream(path)); }

int64_t entries(const fs::path& folder) {
  return std::distance(fs::directory_iterator(folder), fs::directory_iterator());
}

}  // namespace

TEST_CASE("a report is written whole, replaces the old one and leaves nothing beside it") {
  test::TemporaryFolder folder;
  const fs::path path = folder.path() / "report.json";
  write_json(path.string(), {{"old", std::string(10000, 'x')}});
  write_json(path.string(), {{"speed", 1.5}, {"unknown", std::nan("")}, {"name", "bad \xff byte"}});
  const nlohmann::json found = read(path);
  CHECK(found.size() == 3);
  CHECK(found["speed"] == 1.5);
  CHECK(found["unknown"].is_null());
  CHECK(entries(folder.path()) == 1);
}

TEST_CASE("a report through a link keeps the link; a device is written, not replaced") {
  test::TemporaryFolder folder;
  write_json((folder.path() / "real.json").string(), 1);
  fs::create_symlink("real.json", folder.path() / "link.json");
  write_json((folder.path() / "link.json").string(), 2);
  CHECK(fs::is_symlink(folder.path() / "link.json"));
  CHECK(read(folder.path() / "real.json") == 2);
  write_json("/dev/null", 3);
  CHECK(fs::is_character_file("/dev/null"));
}

TEST_CASE("a report that cannot be written is an error that names its file, and leaves nothing") {
  test::TemporaryFolder folder;
  const std::string missing = (folder.path() / "no" / "folder.json").string();
  CHECK_THROWS_WITH(write_json(missing, 1), Catch::Contains("folder.json"));
  CHECK_THROWS_AS(write_json(folder.path().string(), 1), Error);
  CHECK(entries(folder.path()) == 0);
}

TEST_CASE("whether a report can be written is known before, and asking changes nothing") {
  test::TemporaryFolder folder;
  const fs::path path = folder.path() / "report.json";
  CHECK_NOTHROW(check_report_path(path.string()));
  CHECK(entries(folder.path()) == 0);
  write_json(path.string(), 1);
  CHECK_NOTHROW(check_report_path(path.string()));
  CHECK(read(path) == 1);
  for (const char* fine : {"-", "/dev/null"}) CHECK_NOTHROW(check_report_path(fine));
  for (const fs::path& wrong : {folder.path(), folder.path() / "no" / "report.json", path / "report.json",
                                folder.path() / "no" / "", folder.path() / std::string(300, 'x')}) {
    INFO(wrong);
    CHECK_THROWS_WITH(check_report_path(wrong.string()), Catch::Contains(folder.path().string()));
  }
  CHECK(entries(folder.path()) == 1);
}
