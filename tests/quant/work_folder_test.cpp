// The folder of unfinished work: who gets it, and what is left of it whenever a run ends.

#include "quant/work_folder.h"

#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <csignal>
#include <string>
#include <thread>

#include "engine/files/output_folder.h"
#include "kernels/error.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_model.h"

using namespace whittle;
using namespace whittle::test;
namespace fs = std::filesystem;

namespace {

int removals_before_the_end = 0;  // of this process; 0: it does not end

}  // namespace

// In place of the system's, for this program: every file and folder that is removed comes by here.
extern "C" int unlinkat(int folder, const char* name, int flags) noexcept {
  if (removals_before_the_end > 0 && --removals_before_the_end == 0) kill(getpid(), SIGKILL);
  return static_cast<int>(syscall(SYS_unlinkat, folder, name, flags));
}

namespace {

const nlohmann::json identity = {{"run", "this"}};

int64_t entries(const fs::path& folder) { return std::distance(fs::directory_iterator(folder), {}); }

void fill(WorkFolder& work) {
  for (const char* name : {"calibration", "one", "two"}) work.save(name, {}, {{"name", name}});
}

// Whether a process that does this is killed at its n-th removal.
template <class Work>
bool killed_at(int n, Work work) {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    removals_before_the_end = n;
    work();
    _exit(0);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

}  // namespace

TEST_CASE("Killed anywhere while it removes its work, a run leaves nothing that stops the next") {
  const TemporaryFolder folder;
  const fs::path out = folder.path() / "out";
  const auto finishes = [&] {
    WorkFolder work(out, identity, true);
    fill(work);
    work.finish();
  };
  const auto gives_up = [&] {
    WorkFolder work(out, identity, false);
    fill(work);
  };
  for (const bool resume : {true, false})
    for (const bool finished : {true, false}) {
      int kills = 0;
      for (int n = 1; finished ? killed_at(n, finishes) : killed_at(n, gives_up); ++n) {
        CAPTURE(resume, finished, n);
        ++kills;
        // Another run altogether.
        const OutputFolder next(out);
        const WorkFolder work(out, {{"run", "another"}}, resume);
        CHECK_FALSE(work.open("one"));
        CHECK(entries(folder.path()) == 2);
        CHECK(entries(work.path()) == 1);
        fs::remove_all(work.path());
      }
      CHECK(kills >= 4);  // of as many files
      CHECK(entries(folder.path()) == 0);
    }
}

TEST_CASE("What is left of a run's work without its name is nobody's; what is not a run's work stays") {
  const TemporaryFolder folder;
  const fs::path out = folder.path() / "out";
  for (const bool resume : {true, false}) {
    CAPTURE(resume);
    const fs::path left = WorkFolder::path_for(out);
    {
      WorkFolder work(out, identity, true);
      fill(work);
    }
    fs::remove(left / "run.json");
    write_text(left / "run.partial", "{");
    {
      const WorkFolder work(out, {{"run", "another"}}, resume);
      CHECK(entries(work.path()) == 1);
      CHECK(entries(folder.path()) == 1);
    }
    fs::remove_all(left);
    fs::create_directory(left);
    write_text(left / "precious", "mine");
    CHECK_THROWS_WITH(WorkFolder(out, identity, resume), Catch::Contains("not the work of a run"));
    CHECK(read_text(left / "precious") == "mine");
    fs::remove_all(left);
  }
}

TEST_CASE("Of runs that start and end at the same time, each has the folder to itself or is told") {
  const TemporaryFolder folder;
  const fs::path out = folder.path() / "out";
  constexpr int rounds = 300;
  std::atomic<int> inside = 0, had = 0, told = 0, wrong = 0;
  const auto starts = [&](bool resume) {
    for (int i = 0; i < rounds; ++i) try {
        WorkFolder work(out, identity, resume);
        if (++inside > 1) ++wrong;
        ++had;
        work.save("part", {}, {{"round", i}});
        const auto saved = work.open("part");
        if (!saved || WorkFolder::facts(*saved)["round"] != i) ++wrong;
        --inside;
        work.finish();
      } catch (const Error& error) {
        if (std::string(error.what()).find("another run is working there") == std::string::npos) ++wrong;
        ++told;
      }
  };
  std::thread one(starts, false), two(starts, true), three(starts, false);
  one.join();
  two.join();
  three.join();
  CHECK(wrong == 0);
  CHECK(had + told == 3 * rounds);
  CHECK(had > 0);
  CHECK(entries(folder.path()) == 0);
}
