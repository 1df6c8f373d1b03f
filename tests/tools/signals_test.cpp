// A signal that asks a command to end ends it, whatever it is doing, and leaves nothing behind.

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <sstream>
#include <thread>

#include "tests/support/commands.h"
#include "tests/support/tiny_model.h"

namespace fs = std::filesystem;
using namespace whittle::test;
using namespace std::chrono_literals;

namespace {

constexpr int signals[] = {SIGINT, SIGTERM, SIGHUP};

// Sends `signal` after `delay`, and expects an end by it within five seconds: one, and a busy machine.
void check_ends(const std::vector<std::string>& arguments, int signal, std::chrono::milliseconds delay) {
  INFO(arguments.front() << ", signal " << signal << " after " << delay.count() << " ms");
  Child child(whittle_command(arguments));
  std::this_thread::sleep_for(delay);
  REQUIRE_FALSE(child.ended());
  child.send(signal);
  const auto sent = std::chrono::steady_clock::now();
  while (!child.ended() && std::chrono::steady_clock::now() - sent < 5s) std::this_thread::sleep_for(5ms);
  REQUIRE(child.ended());
  CHECK(child.wait().signal == signal);
}

// Children of any process that were started with this word on their command line.
int running_with(const std::string& word) {
  int count = 0;
  for (const auto& entry : fs::directory_iterator("/proc"))
    if (fs::exists(entry.path() / "cmdline") && has(read_text(entry.path() / "cmdline"), word)) ++count;
  return count;
}

std::string long_text() {
  std::string text;
  for (int i = 0; i < 100; ++i) text += read_text(story());
  return text;
}

}  // namespace

TEST_CASE("Every command that measures or reads ends by the first signal, and leaves no report") {
  const TemporaryFolder folder, reports;
  const std::string text = folder.path() / "long.txt", pipe = folder.path() / "pipe",
                    json = reports.path() / "report.json", trace = reports.path() / "trace.json";
  write_text(text, long_text());
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);  // reading from it waits for ever
  const std::vector<std::vector<std::string>> runs = {
      {"drift", int8_model(), "--baseline", reference_model(), "--text", text, "--json", json},
      {"bench", int8_model(), "--repeat", "1000", "--prompt-tokens", "64", "--gen-tokens", "8", "--json",
       json, "--trace", trace},
      {"generate", int8_model(), "--prompt-file", pipe, "--json", json},
      {"tokenize", reference_model(), "--file", pipe},
      {"machine", "--json", json}};
  for (const auto& arguments : runs)
    for (const int signal : signals) check_ends(arguments, signal, 300ms);
  CHECK(fs::is_empty(reports.path()));
}

TEST_CASE("What was generated before a signal has been printed") {
  const TemporaryFolder folder;
  const std::string out = folder.path() / "out.txt";
  Child child(whittle_command(
                  {"generate", int8_model(), "--prompt", "Once", "--max-tokens", "400", "--threads", "1"}),
              {.out = out});
  while (!fs::exists(out) || (fs::is_empty(out) && !child.ended())) std::this_thread::sleep_for(1ms);
  child.send(SIGINT);
  CHECK(child.wait().signal == SIGINT);
  CHECK_FALSE(read_text(out).empty());
}

TEST_CASE("A command that writes a model ends by the first signal, and removes what it wrote") {
  const TemporaryFolder folder, models;
  const std::string out = folder.path() / "out", model = models.path() / "model";
  REQUIRE(run_whittle({"synthesize", "smollm-135m", model}).exit_code == 0);
  const auto written = [&] {
    return std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()) > 0;
  };
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"synthesize", "tinyllama-1.1b", out, "--threads", "1"},
        {"quantize", model, out, "--effort", "fast", "--threads", "1"},
        {"quantize", model, out, "--threads", "1", "--weights", "int4", "--method", "gptq"},
        {"export", model, out}})
    for (const int signal : signals) {
      INFO(arguments.front());
      Child child(whittle_command(arguments));
      while (!written() && !child.ended()) std::this_thread::sleep_for(1ms);
      child.send(signal);
      CHECK(child.wait().signal == signal);
      CHECK_FALSE(written());
    }
}

TEST_CASE("A signal during the measurement of peak memory ends the measured process too") {
  const TemporaryFolder folder;
  const std::string model = folder.path() / "a-name-of-its-own";
  fs::copy(int8_model(), model, fs::copy_options::recursive);
  // The measured process lives for some milliseconds: whoever comes too late tries again.
  const auto caught = [&](int signal) {
    Child child(whittle_command({"bench", model, "--gen-tokens", "128", "--threads", "1"}));
    while (running_with(model) < 2 && !child.ended()) std::this_thread::sleep_for(1ms);
    if (child.ended()) return false;
    child.send(signal);
    return child.wait().signal == signal;
  };
  for (const int signal : signals) {
    int tries = 0;
    while (tries < 20 && !caught(signal)) ++tries;
    CHECK(tries < 20);
    CHECK(running_with(model) == 0);
  }
}

TEST_CASE("An ignored signal stays ignored, as nohup asks") {
  const TemporaryFolder folder;
  Child child({"sh", "-c", "trap '' HUP; exec \"$@\"", "sh", WHITTLE_PROGRAM, "synthesize", "smollm-135m",
               folder.path() / "out", "--threads", "1"});
  std::this_thread::sleep_for(200ms);
  child.send(SIGHUP);
  CHECK(child.wait().exit_code == 0);
}
