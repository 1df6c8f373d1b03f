#pragma once
// What a drift measurement has found so far, so that another run can go on from there: a file of JSON lines.
//
// The first line is {"drift_log": 1, "run": IDENTITY}; every other one a window: {"model": M, "text": T,
// "window": W, "positions": [[baseline_nll, model_nll, kl, same_top, kl_below, kl_above], …]}, M and T being
// numbers in the order of the run, and the positions those that are scored. Numbers come back as they were,
// bit for bit. A last line that a killed run left unfinished is dropped.

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "bench/drift/drift_position.h"

namespace whittle {

class DriftLog {
 public:
  // identity: an object of everything that the figures depend on. Makes the file, or goes on with one of the
  // same identity. Throws Error, and changes nothing, where the file is of another run, no such file, or in
  // use.
  DriftLog(const std::filesystem::path& path, const nlohmann::json& identity);
  // Removes a file without any window.
  ~DriftLog();
  DriftLog(const DriftLog&) = delete;
  DriftLog& operator=(const DriftLog&) = delete;

  // Fills in what is known of a window. False: nothing is. Throws Error where it has another size.
  bool load(size_t model, size_t text, size_t window, std::span<DriftPosition> positions) const;
  void save(size_t model, size_t text, size_t window, std::span<const DriftPosition> positions);
  // All is done: removes the file.
  void finish();

 private:
  struct Line {
    int64_t number = 0;
    std::vector<DriftPosition> positions;
  };
  using Key = std::tuple<size_t, size_t, size_t>;

  int64_t read(const nlohmann::json& identity);  // bytes of all complete lines
  void read_window(std::string_view line, int64_t number);
  void append(const nlohmann::json& line);

  const std::filesystem::path path_;
  int fd_ = -1;  // the lock hangs on it
  bool empty_ = true;
  std::map<Key, Line> windows_;
};

}  // namespace whittle
