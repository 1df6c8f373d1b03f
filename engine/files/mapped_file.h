#pragma once
// A file's bytes in memory, read-only, for as long as the object lives.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>

#include "engine/files/cut_file.h"

struct stat;

namespace whittle {

class MappedFile {
 public:
  // Throws Error unless `path` is a regular file that can be read.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::span<const std::byte> bytes() const { return bytes_; }

  // Throws Error when the file under this name is the one that was mapped and has been written to since:
  // bytes that were cut within the last page read as zeros.
  void check_unchanged() const;

  // Gives the whole pages inside `part` back to the system; reading them again reads the disk.
  void drop_pages(std::span<const std::byte> part) const;

 private:
  std::filesystem::path path_;
  struct Version {
    uint64_t device = 0, inode = 0;
    int64_t size = 0, seconds = 0, nanoseconds = 0;  // of its last change
    bool operator==(const Version&) const = default;
  };
  static Version version_of(const struct stat& status);
  Version version_;
  std::optional<NotedMapping> note_;
  std::span<const std::byte> bytes_;
};

}  // namespace whittle
