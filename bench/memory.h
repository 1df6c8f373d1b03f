#pragma once
// Peak memory, of this process and of a program that is run to be measured.

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace whittle {

// Resident bytes of this process now, and the most since it started; 0 where the system does not say. Pages
// of mapped files count while they are resident.
int64_t resident_bytes();
int64_t peak_resident_bytes();
// Those of no file: what the program has taken, and not what the system keeps of files for it.
int64_t anonymous_bytes();

struct ChildOptions {
  double timeout_seconds = std::numeric_limits<double>::infinity();  // then it is killed
  bool keep_errors = false;  // its standard error comes back in the report instead of going to ours
  // How often this process wakes up to watch the child. Seldom, for one whose own speed is measured.
  int watch_ms = 10;
};

struct ChildReport {
  int exit_code = 0;  // −1 when a signal ended it
  int signal = 0;     // that ended it, or 0
  bool timed_out = false;
  std::string output;  // everything it wrote to standard output
  std::string errors;  // and to standard error, where that was to be kept
  // Exact when well above this process's own peak. The kernel starts a child's peak at its parent's, so a
  // smaller one is watched from outside, every watch_ms: it may miss a peak in the last moment. 0:
  // unknown. A child of ours that must be exact reports its own peak_resident_bytes().
  int64_t peak_rss_bytes = 0;
  double wall_seconds = 0, user_seconds = 0, system_seconds = 0;
};

// Runs argv (argv[0] looked for in PATH) to its end, on all CPUs that this process was started on, with an
// empty standard input and, unless it is kept, our standard error. A signal that ends this program ends the
// child too. Throws Error when it cannot be started; how it ended is in the report.
ChildReport run_child(const std::vector<std::string>& argv, const ChildOptions& options = {});

}  // namespace whittle
