#pragma once
// A file's bytes in memory, read-only, for as long as the object lives.

#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>

#include "engine/files/cut_file.h"

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

  // Gives the whole pages inside `part` back to the system; reading them again reads the disk.
  void drop_pages(std::span<const std::byte> part) const;

 private:
  std::filesystem::path path_;
  std::optional<NotedMapping> note_;
  std::span<const std::byte> bytes_;
};

}  // namespace whittle
