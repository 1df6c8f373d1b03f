#pragma once
// One line on a terminal that says how far a long run is; nothing in a pipe.

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <string>

#include "bench/reports/table.h"
#include "engine/files/json_file.h"

namespace whittle {

class ProgressLine {
 public:
  explicit ProgressLine(std::string title) : title_(std::move(title)), shown_(isatty(STDERR_FILENO) == 1) {}
  ~ProgressLine() { finish(); }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void update(int64_t done, int64_t total, const std::string& what) {
    const auto now = std::chrono::steady_clock::now();
    const bool due = now - last_ > std::chrono::milliseconds(100) || done == total;
    if (!shown_ || !due || total <= 0) return;
    last_ = now;
    const double fraction = static_cast<double>(done) / static_cast<double>(total);
    const double elapsed = std::chrono::duration<double>(now - start_).count();
    const std::string left = done > 0 ? format_seconds(elapsed / fraction - elapsed) : "–";
    fmt::print(stderr, "\r\033[K{} {:3.0f} %  {} left  {}", title_, 100 * fraction, left, printable(what));
    std::fflush(stderr);
    written_ = true;
  }
  void finish() {
    if (written_) fmt::print(stderr, "\r\033[K");
    written_ = false;
  }

 private:
  using Time = std::chrono::steady_clock::time_point;
  std::string title_;
  bool shown_, written_ = false;
  Time start_ = std::chrono::steady_clock::now(), last_ = {};
};

}  // namespace whittle
