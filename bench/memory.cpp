#include "bench/memory.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "bench/child_process.h"
#include "engine/clock.h"
#include "engine/files/interrupts.h"
#include "kernels/error.h"

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

}  // namespace

int64_t resident_bytes() { return status_bytes("self", "VmRSS:"); }

int64_t peak_resident_bytes() { return status_bytes("self", "VmHWM:"); }

int64_t anonymous_bytes() { return status_bytes("self", "RssAnon:"); }

ChildReport run_child(const std::vector<std::string>& argv, const ChildOptions& options) {
  assert(!argv.empty());
  const HeldInterrupts held;
  const int64_t inherited_peak = own_peak_as_inherited();
  ChildReport report;
  Pipe output = open_pipe(argv[0], Direction::from_child);
  Pipe errors = options.keep_errors ? open_pipe(argv[0], Direction::from_child) : Pipe{};
  const auto began = Clock::now();
  const pid_t child = start_child(argv, -1, output.childs.number(), errors.childs.number());
  output.childs.close();
  errors.childs.close();
  // Readable when the child has ended; without it (before Linux 5.3) the end is seen a little late.
  const Descriptor ending(static_cast<int>(syscall(SYS_pidfd_open, child, 0)));

  int64_t watched_peak = 0;
  int status = 0;
  rusage usage{};
  auto next_watch = began;
  for (pid_t ended = 0; ended != child;) {
    if (const auto now = Clock::now(); now >= next_watch) {
      watched_peak = std::max(watched_peak, status_bytes(std::to_string(child), "VmHWM:"));
      next_watch = now + std::chrono::milliseconds(options.watch_ms);
    }
    if (!report.timed_out && (seconds_since(began) > options.timeout_seconds || interrupted())) {
      kill(child, SIGKILL);
      report.timed_out = true;
    }
    std::array<pollfd, 3> waiting = {
        {{output.ours.number(), POLLIN, 0}, {errors.ours.number(), POLLIN, 0}, {ending.number(), POLLIN, 0}}};
    poll(waiting.data(), waiting.size(), options.watch_ms);
    ended = wait4(child, &status, WNOHANG, &usage);
    if (ended < 0 && errno != EINTR)
      fail("{}: lost sight of process {}: {}", argv[0], child, std::strerror(errno));
    // Read after the look at the child: what it wrote before its end is then in the pipe, and what a process
    // that it left behind still writes is not ours.
    read_available(output.ours, report.output);
    read_available(errors.ours, report.errors);
  }

  report.wall_seconds = seconds_since(began);
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
