#pragma once
// What is being written, beside the place that it will have when it is complete: ".NAME.whittle-XXXXXXXX".
//
// Its writer holds a lock on it (flock), which the system lets go of however the writer ends. Who writes to
// the same place next removes those that nobody holds. Where the file system has no such locks nothing is
// removed.

#include <filesystem>
#include <optional>

#include "engine/files/cut_file.h"

namespace whittle {

class HiddenSibling {
 public:
  enum class Kind : uint8_t { file, folder };

  // Removes what dead writers to `final_path`, an absolute path, left, and makes an empty file or folder.
  // Throws Error when that cannot be made.
  HiddenSibling(const std::filesystem::path& final_path, Kind kind);
  // Removes it unless it was renamed.
  ~HiddenSibling();
  HiddenSibling(const HiddenSibling&) = delete;
  HiddenSibling& operator=(const HiddenSibling&) = delete;

  const std::filesystem::path& path() const { return path_; }
  int fd() const { return fd_; }  // open for writing where it is a file; the lock hangs on it
  // Gives it the final name. Replaces a file or an empty folder of that name. Throws Error.
  void rename();

 private:
  std::filesystem::path final_, path_;
  int fd_ = -1;
  std::optional<NotedOutput> note_;
};

// Removes a file or folder if it is ours and no living writer holds it.
void remove_if_abandoned(const std::filesystem::path& path);

}  // namespace whittle
