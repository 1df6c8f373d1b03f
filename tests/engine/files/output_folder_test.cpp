#include "engine/files/output_folder.h"

#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>

#include "engine/files/model_file.h"
#include "engine/files/safetensors_writer.h"
#include "kernels/error.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_model.h"

using namespace whittle;
using namespace whittle::test;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {

size_t entries(const fs::path& folder) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

// Folders below `root` that open as a model.
int loadable(const fs::path& root) {
  int count = 0;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (!entry.is_directory()) continue;
    try {
      ModelFile file(entry.path());
      ++count;
    } catch (const Error&) {
    }
  }
  return count;
}

nlohmann::ordered_json tiny_config() { return config_of(TinyModel{}); }

// What a quantization does, in `steps` steps; each calls `between`.
void write_model(const fs::path& output, const fs::path& source, const std::function<void()>& between) {
  OutputFolder folder(output);
  between();
  folder.copy_side_files(source);
  between();
  const std::vector<RawTensor> tensors = tensors_of({});
  std::vector<TensorInfo> infos;
  for (const RawTensor& tensor : tensors)
    infos.push_back({tensor.name, *dtype_named(tensor.dtype), tensor.shape});
  SafetensorsWriter writer(folder.path() / "model.safetensors", infos, {});
  for (const RawTensor& tensor : tensors) {
    between();
    writer.write(tensor.name, std::as_bytes(std::span(tensor.bytes)));
  }
  writer.finish();
  between();
  folder.commit(tiny_config());
}

}  // namespace

TEST_CASE("a committed folder is complete, with its side files unchanged") {
  TemporaryFolder root;
  const fs::path source = root.path() / "source", output = root.path() / "output";
  fs::create_directory(source);
  write_tiny_model(source);
  const char* copied[] = {"tokenizer.json",
                          "tokenizer_config.json",
                          "tokenizer.model",
                          "generation_config.json",
                          "special_tokens_map.json",
                          "vocab.json",
                          "merges.txt",
                          "chat_template.jinja",
                          "LICENSE.txt",
                          "added_tokens.json"};
  for (const char* name : copied) write_text(source / name, std::string("{\"of\": \"") + name + "\"}");
  for (const char* name : {"README.md", "pytorch_model.bin", "model-00001-of-00002.safetensors"})
    write_text(source / name, "no");
  fs::permissions(source / "tokenizer.json", fs::perms::owner_read);

  write_model(output, source, [&] { CHECK_FALSE(fs::exists(output)); });
  for (const char* name : copied) CHECK(read_text(output / name) == read_text(source / name));
  CHECK(entries(output) == std::size(copied) + 2);
  CHECK(ModelFile(output).tensors().size() == ModelFile(source).tensors().size());
  CHECK(entries(root.path()) == 2);
}

TEST_CASE("an existing output is refused and stays as it is") {
  TemporaryFolder root;
  fs::create_directory(root.path() / "full");
  write_text(root.path() / "full" / "x", "1");
  write_text(root.path() / "file", "1");
  fs::create_symlink("nowhere", root.path() / "link");
  for (const char* name : {"full", "full/", "file", "link"}) {
    CHECK_THROWS_WITH(OutputFolder(root.path() / name), Contains("exists already"));
  }
  CHECK_THROWS_WITH(OutputFolder(root.path() / "none" / "out"), Contains("none"));
  CHECK(entries(root.path()) == 3);

  fs::create_directory(root.path() / "empty");
  OutputFolder folder(root.path() / "empty/");
  folder.commit(tiny_config());
  CHECK(fs::exists(root.path() / "empty" / "config.json"));
}

TEST_CASE("an output that appears while we write is not replaced") {
  TemporaryFolder root;
  {
    OutputFolder folder(root.path() / "out");
    fs::create_directory(root.path() / "out");
    write_text(root.path() / "out" / "precious", "1");
    CHECK_THROWS_WITH(folder.commit(tiny_config()), Contains("out"));
  }
  CHECK(read_text(root.path() / "out" / "precious") == "1");
  CHECK(entries(root.path()) == 1);
}

TEST_CASE("a failure in the middle leaves nothing") {
  TemporaryFolder root;
  int left = 5;
  const auto fail_later = [&] {
    if (--left == 0) throw Error("full disk");
  };
  CHECK_THROWS_AS(write_model(root.path() / "out", root.path(), fail_later), Error);
  CHECK(entries(root.path()) == 0);
}

TEST_CASE("kill -9 at any step leaves nothing that loads") {
  const auto steps = static_cast<int>(tensors_of({}).size()) + 3;
  for (int step = 1; step <= steps; ++step) {
    INFO(step);
    TemporaryFolder root;
    const fs::path source = root.path() / "source";
    fs::create_directory(source);
    write_text(source / "tokenizer.json", "{}");
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      int left = step;
      write_model(root.path() / "out", source, [&] {
        if (--left == 0) kill(getpid(), SIGKILL);
      });
      _exit(0);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));
    CHECK_FALSE(fs::exists(root.path() / "out"));
    CHECK(loadable(root.path()) == 0);
  }
}

namespace {

// A process that has begun to write `output` and does nothing more.
pid_t writer_of(const fs::path& output) {
  int ready[2];
  REQUIRE(pipe(ready) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    OutputFolder folder(output);
    write_text(folder.path() / "model.safetensors", "1");
    if (write(ready[1], "1", 1) == 1) pause();
    _exit(0);
  }
  char byte = 0;
  REQUIRE(read(ready[0], &byte, 1) == 1);
  close(ready[0]);
  close(ready[1]);
  return child;
}

void kill_and_wait(pid_t child) {
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
}

}  // namespace

TEST_CASE(
    "what a dead writer left is removed by the next one to the same place, what a living one writes is not") {
  TemporaryFolder root;
  const fs::path output = root.path() / "out";
  const char* others[] = {".other.whittle-00000000", ".out.whittle-0000000g", ".out.whittle-000",
                          "out.whittle-00000000"};
  for (const char* name : others) fs::create_directory(root.path() / name);
  const size_t before = entries(root.path());
  kill_and_wait(writer_of(output));
  CHECK(entries(root.path()) == before + 1);
  const pid_t living = writer_of(output);
  CHECK(entries(root.path()) == before + 1);  // its own, and no longer the other's
  {
    OutputFolder first(output);
    OutputFolder second(output);
    CHECK(entries(root.path()) == before + 3);
    write_text(first.path() / "x", "1");
    first.commit(tiny_config());
    CHECK(fs::exists(second.path()));
    CHECK_THROWS_WITH(second.commit(tiny_config()), Contains("exists already"));
  }
  CHECK(entries(root.path()) == before + 2);
  fs::remove_all(output);
  kill_and_wait(living);
  { OutputFolder next(output); }
  CHECK(entries(root.path()) == before);
}

TEST_CASE("a writer killed before its last step is overtaken by the next") {
  TemporaryFolder root;
  const fs::path output = root.path() / "out";
  fs::create_directory(output);
  write_text(output / ".config.json.whittle-partial", "{}");
  write_text(output / "model.safetensors", "1");
  { OutputFolder(output).commit(tiny_config()); }
  CHECK(entries(output) == 1);
  // Not ours: a model that somebody keeps such a file beside.
  write_text(output / ".config.json.whittle-partial", "{}");
  CHECK_THROWS_WITH(OutputFolder(output), Contains("exists already"));
}

TEST_CASE("an interrupt removes the temporary folder") {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    TemporaryFolder root;
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      int left = 5;
      try {
        write_model(root.path() / "out", root.path(), [&] {
          if (--left == 0) kill(getpid(), signal);
          check_interrupted();
        });
      } catch (const Error&) {
        _exit(7);  // only where the signal was swallowed
      }
      _exit(0);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));
    CHECK(WTERMSIG(status) == signal);
    CHECK(entries(root.path()) == 0);
  }
}
