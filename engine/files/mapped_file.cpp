#include "engine/files/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "kernels/error.h"

namespace whittle {

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  // O_NONBLOCK: opening a pipe that nobody writes to would wait for ever.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) fail("{}: {}", path.string(), std::strerror(errno));
  struct stat status {};
  if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
    close(fd);
    fail("{}: not a regular file", path.string());
  }
  version_ = version_of(status);
  const auto size = static_cast<size_t>(status.st_size);
  if (size > 0) {  // nothing can be mapped of an empty file
    void* data = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) {
      const int error = errno;
      close(fd);
      fail("{}: cannot map: {}", path.string(), std::strerror(error));
    }
    bytes_ = {static_cast<const std::byte*>(data), size};
    note_.emplace(bytes_, path_);
  }
  close(fd);
}

MappedFile::~MappedFile() {
  note_.reset();
  if (!bytes_.empty()) munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

MappedFile::Version MappedFile::version_of(const struct stat& status) {
  return {status.st_dev, status.st_ino, status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec};
}

void MappedFile::check_unchanged() const {
  struct stat status {};
  if (stat(path_.c_str(), &status) != 0) return;  // what has no name any more cannot be opened to be changed
  const Version now = version_of(status);
  const bool another = now.device != version_.device || now.inode != version_.inode;
  if (!another && now != version_) fail("{}: changed by another program while it was read", path_.string());
}

void MappedFile::drop_pages(std::span<const std::byte> part) const {
  if (part.empty()) return;
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto address = reinterpret_cast<uintptr_t>(part.data());
  const uintptr_t begin = (address + page - 1) / page * page;
  const uintptr_t end = (address + part.size()) / page * page;
  // Only advice: where it fails the pages stay, and nothing else changes.
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace whittle
