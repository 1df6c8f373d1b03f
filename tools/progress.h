#pragma once
// One line on a terminal that says how far a long run is; nothing in a pipe.

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <optional>
#include <string>

#include "bench/reports/table.h"
#include "engine/files/json_file.h"

namespace whittle {

// The time that is left, from how fast the work went since the first call: nothing before a second of it.
class Remaining {
 public:
  std::optional<double> seconds(int64_t done, int64_t total, double now) {
    if (!begun_) first_ = done, began_ = now, begun_ = true;
    const double elapsed = now - began_;
    if (done <= first_ || done >= total || elapsed < 1) return std::nullopt;
    return elapsed * static_cast<double>(total - done) / static_cast<double>(done - first_);
  }

 private:
  bool begun_ = false;
  int64_t first_ = 0;
  double began_ = 0;
};

class ProgressLine {
 public:
  explicit ProgressLine(std::string title) : title_(std::move(title)), shown_(isatty(STDERR_FILENO) == 1) {}
  ~ProgressLine() { finish(); }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void update(int64_t done, int64_t total, const std::string& what) {
    const auto now = std::chrono::steady_clock::now();
    if (!shown_ || total <= 0) return;
    const auto left =
        remaining_.seconds(done, total, std::chrono::duration<double>(now.time_since_epoch()).count());
    if (now - last_ <= std::chrono::milliseconds(100) && done != total) return;
    last_ = now;
    const double fraction = static_cast<double>(done) / static_cast<double>(total);
    const std::string line = fmt::format("{} {:3.0f} %  {}{}", title_, 100 * fraction,
                                         left ? format_seconds(*left) + " left  " : "", printable(what));
    fmt::print(stderr, "\r\033[K{}", cut(line, columns() - 1));
    std::fflush(stderr);
    written_ = true;
  }
  void finish() {
    if (written_) fmt::print(stderr, "\r\033[K");
    written_ = false;
  }

 private:
  // Of the terminal: a longer line would be left behind by the next.
  static int64_t columns() {
    winsize size{};
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : 80;
  }

  using Time = std::chrono::steady_clock::time_point;
  std::string title_;
  bool shown_, written_ = false;
  Time last_ = {};
  Remaining remaining_;
};

}  // namespace whittle
