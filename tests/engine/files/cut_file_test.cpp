#include "engine/files/cut_file.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>

#include "engine/files/mapped_file.h"
#include "engine/files/output_folder.h"
#include "engine/files/safetensors_writer.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_model.h"

using namespace whittle;
using namespace whittle::test;
namespace fs = std::filesystem;

namespace {

constexpr int64_t size = 1 << 20;

struct Ended {
  int status = 0;
  std::string err;
};

// Runs `body` in a process of its own.
template <typename Body>
Ended in_child(const fs::path& err, const Body& body) {
  Ended ended;
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    dup2(open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), STDERR_FILENO);
    catch_cut_files();
    body();
    _exit(0);
  }
  REQUIRE(waitpid(child, &ended.status, 0) == child);
  ended.err = read_text(err);
  return ended;
}

}  // namespace

TEST_CASE("a file that is cut short while it is mapped ends the program with its name, and nothing is left") {
  TemporaryFolder root;
  const fs::path cut = root.path() / "cut\n", other = root.path() / "other", out = root.path() / "parent";
  fs::create_directory(out);
  for (const fs::path& path : {cut, other}) write_text(path, std::string(size, 'x'));
  enum class Read { directly, by_the_system };
  for (const Read read : {Read::directly, Read::by_the_system}) {
    const Ended ended = in_child(root.path() / "err", [&] {
      const MappedFile first(other), mapped(cut), last(other);
      { const MappedFile gone(other); }
      OutputFolder folder(out / "a"), second(out / "b");
      HiddenSibling file(out / "c", HiddenSibling::Kind::file);
      write_text(folder.path() / "x", "1");
      write_text(folder.path() / "y", "1");
      const std::vector<TensorInfo> infos = {{"t", DType::U8, {size}}};
      SafetensorsWriter writer(second.path() / "weights", infos, {});
      fs::resize_file(cut, 4096);
      if (read == Read::directly && mapped.bytes()[size - 1] == std::byte{0}) _exit(7);
      writer.write("t", mapped.bytes());
    });
    INFO(ended.err);
    REQUIRE(WIFEXITED(ended.status));
    CHECK(WEXITSTATUS(ended.status) == 1);
    CHECK(std::ranges::count(ended.err, '\n') == 1);
    CHECK_THAT(ended.err, Catch::Matchers::Contains("cut\\x0a"));
    CHECK(fs::is_empty(out));
    write_text(cut, std::string(size, 'x'));
  }
}

TEST_CASE("a file that is written to while it is mapped is told, one that is replaced is the old one still") {
  TemporaryFolder root;
  const fs::path path = root.path() / "a";
  const auto refused = [&](const MappedFile& file) {
    CHECK_THROWS_WITH(file.check_unchanged(), Catch::Matchers::Contains(path.string()));
  };
  write_text(path, "123456");
  {
    const MappedFile file(path);
    CHECK_NOTHROW(file.check_unchanged());
    fs::resize_file(path, 5);  // the page stays, with a zero for the last byte
    refused(file);
  }
  const MappedFile file(path);
  write_text(root.path() / "b", "654321");
  fs::rename(root.path() / "b", path);
  CHECK_NOTHROW(file.check_unchanged());
  CHECK(static_cast<char>(file.bytes()[4]) == '5');
}

TEST_CASE("a bus error elsewhere ends the program as ever") {
  TemporaryFolder root;
  const Ended ended = in_child(root.path() / "err", [] { raise(SIGBUS), raise(SIGBUS); });
  CHECK(WIFSIGNALED(ended.status));
  CHECK(ended.err.find("cut short") == std::string::npos);
}
