#include "bench/memory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <utility>

#include "kernels/error.h"
#include "kernels/threads.h"

namespace whittle {

namespace {

// A line such as "VmHWM:     1234 kB" of /proc/PID/status, in bytes; 0 when absent, as of a process that has
// ended.
int64_t status_bytes(const std::string& process, std::string_view name) {
  std::ifstream file(fmt::format("/proc/{}/status", process));
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(name)) return 1024 * std::strtoll(line.c_str() + name.size(), nullptr, 10);
  return 0;
}

int64_t own_peak_as_inherited() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024;
}

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

// The calling thread may run on every CPU of the process while this lives: a child inherits what its starter
// may use, and a pinned thread would leave it a single CPU.
class AllCpus {
 public:
  AllCpus() {
    known_ = sched_getaffinity(0, sizeof before_, &before_) == 0;
    unpin_current_thread();
  }
  ~AllCpus() {
    if (known_) sched_setaffinity(0, sizeof before_, &before_);
  }
  AllCpus(const AllCpus&) = delete;
  AllCpus& operator=(const AllCpus&) = delete;

 private:
  cpu_set_t before_;
  bool known_;
};

pid_t start(const std::vector<std::string>& argv, int output) {
  std::vector<char*> arguments;
  for (const std::string& argument : argv) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  pid_t child = 0;
  int error = 0;
  {
    const AllCpus all;
    error = posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ);
  }
  posix_spawn_file_actions_destroy(&actions);
  if (error) fail("{}: cannot be started: {}", argv[0], std::strerror(error));
  return child;
}

// A file descriptor of ours, or −1.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() { close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int number() const { return number_; }
  void close() {
    if (number_ >= 0) ::close(std::exchange(number_, -1));
  }

 private:
  int number_;
};

// Appends what a pipe can hold at most; closes at the end of the stream.
void read_available(Descriptor& pipe, std::string& output) {
  std::array<char, 65536> chunk;
  const ssize_t count = read(pipe.number(), chunk.data(), chunk.size());
  if (count > 0) output.append(chunk.data(), static_cast<size_t>(count));
  if (count == 0) pipe.close();
}

}  // namespace

int64_t resident_bytes() {
  return status_bytes("self", "VmRSS:");
}

int64_t peak_resident_bytes() {
  return status_bytes("self", "VmHWM:");
}

ChildReport run_child(const std::vector<std::string>& argv) {
  assert(!argv.empty());
  constexpr int watch_ms = 10;
  const int64_t inherited_peak = own_peak_as_inherited();
  ChildReport report;
  std::array<int, 2> pipe_ends;
  if (pipe2(pipe_ends.data(), O_CLOEXEC) != 0)
    fail("{}: cannot make a pipe: {}", argv[0], std::strerror(errno));
  Descriptor output(pipe_ends[0]), child_output(pipe_ends[1]);
  const auto began = std::chrono::steady_clock::now();
  const pid_t child = start(argv, child_output.number());
  child_output.close();
  // Readable when the child has ended; without it (before Linux 5.3) the end is seen a little late.
  const Descriptor ending(static_cast<int>(syscall(SYS_pidfd_open, child, 0)));

  int64_t watched_peak = 0;
  int status = 0;
  rusage usage{};
  auto next_watch = began;
  for (pid_t ended = 0; ended != child;) {
    if (const auto now = std::chrono::steady_clock::now(); now >= next_watch) {
      watched_peak = std::max(watched_peak, status_bytes(std::to_string(child), "VmHWM:"));
      next_watch = now + std::chrono::milliseconds(watch_ms);
    }
    std::array<pollfd, 2> waiting = {{{output.number(), POLLIN, 0}, {ending.number(), POLLIN, 0}}};
    poll(waiting.data(), waiting.size(), watch_ms);
    ended = wait4(child, &status, WNOHANG, &usage);
    if (ended < 0 && errno != EINTR)
      fail("{}: lost sight of process {}: {}", argv[0], child, std::strerror(errno));
    // Read after the look at the child: what it wrote before its end is then in the pipe, and what a process
    // that it left behind still writes is not ours.
    if (poll(waiting.data(), 1, 0) > 0 && output.number() >= 0) read_available(output, report.output);
  }

  report.wall_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  report.user_seconds = seconds(usage.ru_utime);
  report.system_seconds = seconds(usage.ru_stime);
  report.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  report.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  const int64_t counted_peak = usage.ru_maxrss * 1024;
  const int64_t margin =
      4 << 20;  // the system counts pages in batches, and ours may have grown a little since
  report.peak_rss_bytes = counted_peak > inherited_peak + margin ? counted_peak : watched_peak;
  return report;
}

}  // namespace whittle
