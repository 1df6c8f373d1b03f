#include "bench/memory.h"

#include <sched.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <vector>

#include "kernels/error.h"
#include "kernels/threads.h"

using namespace whittle;

namespace {

constexpr int64_t MB = 1'000'000;

void touch(int64_t bytes) {
  std::vector<char> memory(static_cast<size_t>(bytes));
  volatile char* data = memory.data();
  for (int64_t i = 0; i < bytes; i += 4096) data[i] = 1;
}

// This very program, running one of the hidden cases below.
std::vector<std::string> self(const std::string& hidden_case) {
  return {std::filesystem::read_symlink("/proc/self/exe").string(), hidden_case};
}

}  // namespace

TEST_CASE("child: touches 300 MB", "[.]") { touch(300 * MB); }

TEST_CASE("child: computes", "[.]") {
  volatile double sum = 0;
  for (int i = 0; i < 50'000'000; ++i) sum = sum + 1;
}

TEST_CASE("a child's peak memory is what it touched") {
  const ChildReport report = run_child(self("child: touches 300 MB"));
  CHECK(report.exit_code == 0);
  CHECK(report.peak_rss_bytes >= 300 * MB);
  CHECK(report.peak_rss_bytes < 600 * MB);  // sanitizers included
}

TEST_CASE("a child's peak memory is not its parent's") {
  touch(600 * MB);
  REQUIRE(peak_resident_bytes() >= 600 * MB);
  CHECK(run_child({"sleep", "0.05"}).peak_rss_bytes < 100 * MB);
}

TEST_CASE("a child's output arrives whole, whatever its length") {
  CHECK(run_child({"printf", "two\nlines\n"}).output == "two\nlines\n");
  const ChildReport report = run_child({"head", "-c", "3000000", "/dev/zero"});
  CHECK(report.output == std::string(3'000'000, '\0'));
  CHECK(run_child({"cat"}).output.empty());  // its input is empty, not ours
}

TEST_CASE("how a child ended is reported") {
  CHECK(run_child({"sh", "-c", "exit 7"}).exit_code == 7);
  const ChildReport killed = run_child({"sh", "-c", "kill -9 $$"});
  CHECK(killed.signal == 9);
  CHECK(killed.exit_code == -1);
  CHECK(run_child({"true"}).signal == 0);
}

TEST_CASE("a child's two streams are told apart, however much comes through either") {
  const ChildReport report =
      run_child({"sh", "-c", "head -c 300000 /dev/zero >&2; echo out; echo end >&2"}, {.keep_errors = true});
  CHECK(report.output == "out\n");
  CHECK(report.errors == std::string(300'000, '\0') + "end\n");
}

TEST_CASE("a child that takes too long is ended") {
  const ChildReport slow = run_child({"sleep", "60"}, {.timeout_seconds = 0.2});
  CHECK(slow.timed_out);
  CHECK(slow.signal == 9);
  CHECK(slow.wall_seconds < 30);
  CHECK_FALSE(run_child({"true"}, {.timeout_seconds = 30}).timed_out);
}

TEST_CASE("a child that leaves a process behind is not waited for beyond its own end") {
  CHECK(run_child({"sh", "-c", "echo done; sleep 4 2>/dev/null &"}).wall_seconds < 3);
}

TEST_CASE("a child's time is told apart: computing and sleeping") {
  const ChildReport computing = run_child(self("child: computes"));
  CHECK(computing.user_seconds > 0);
  CHECK(computing.wall_seconds > 0);
  const ChildReport sleeping = run_child({"sleep", "0.2"});
  CHECK(sleeping.wall_seconds >= 0.2);
  CHECK(sleeping.user_seconds + sleeping.system_seconds < 0.1);
}

TEST_CASE("a program that does not exist is an error that names it") {
  CHECK_THROWS_WITH(run_child({"/no/such/program"}), Catch::Contains("/no/such/program"));
}

TEST_CASE("a pinned thread's child may use every CPU, and the thread stays pinned") {
  cpu_set_t before, one, after;
  REQUIRE(sched_getaffinity(0, sizeof before, &before) == 0);
  CPU_ZERO(&one);
  CPU_SET(usable_cpus().back(), &one);
  REQUIRE(sched_setaffinity(0, sizeof one, &one) == 0);
  const ChildReport report = run_child({"env", "-u", "OMP_NUM_THREADS", "-u", "OMP_THREAD_LIMIT", "nproc"});
  REQUIRE(sched_getaffinity(0, sizeof after, &after) == 0);
  sched_setaffinity(0, sizeof before, &before);
  CHECK(std::atoi(report.output.c_str()) == static_cast<int>(usable_cpus().size()));
  CHECK(CPU_EQUAL(&one, &after));
}

TEST_CASE("this process's memory grows with what it touches") {
  const int64_t before = resident_bytes();
  std::vector<char> memory(200 * MB);
  for (size_t i = 0; i < memory.size(); i += 4096) reinterpret_cast<volatile char&>(memory[i]) = 1;
  CHECK(resident_bytes() > before + 150 * MB);
  CHECK(peak_resident_bytes() >= resident_bytes());
}
