#include "engine/files/hidden_sibling.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels/error.h"

namespace whittle {

namespace fs = std::filesystem;

namespace {

constexpr size_t digits = 8;

std::string prefix_of(const fs::path& final_path) {
  return fmt::format(".{}.whittle-", final_path.filename().string());
}

void remove_abandoned_siblings(const fs::path& final_path) {
  const std::string prefix = prefix_of(final_path);
  std::error_code error;
  std::vector<fs::path> found;
  for (fs::directory_iterator entry(final_path.parent_path(), error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name.size() == prefix.size() + digits && name.starts_with(prefix) &&
        name.find_first_not_of("0123456789abcdef", prefix.size()) == name.npos)
      found.push_back(entry->path());
  }
  std::ranges::for_each(found, remove_if_abandoned);
}

bool same_file(int fd, const fs::path& path) {
  struct stat opened {
  }, named{};
  return fstat(fd, &opened) == 0 && lstat(path.c_str(), &named) == 0 && opened.st_dev == named.st_dev &&
         opened.st_ino == named.st_ino;
}

}  // namespace

void remove_if_abandoned(const fs::path& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return;
  struct stat status {};
  const bool ours = fstat(fd, &status) == 0 && (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode)) &&
                    status.st_uid == geteuid();
  // A writer that has ended well since has renamed it: then there is nothing of this name.
  std::error_code ignored;
  if (ours && flock(fd, LOCK_EX | LOCK_NB) == 0 && same_file(fd, path)) fs::remove_all(path, ignored);
  close(fd);
}

HiddenSibling::HiddenSibling(const fs::path& final_path, Kind kind) : final_(final_path) {
  remove_abandoned_siblings(final_);
  std::random_device random;
  constexpr int attempts = 100;
  for (int i = 0; i < attempts; ++i) {
    path_ = final_.parent_path() / fmt::format("{}{:08x}", prefix_of(final_), random());
    if (kind == Kind::folder && mkdir(path_.c_str(), 0777) != 0) {
      if (errno == EEXIST) continue;
      fail("{}: cannot create: {}", path_.string(), std::strerror(errno));
    }
    fd_ = kind == Kind::folder ? open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
                               : open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd_ < 0 && (errno == EEXIST || errno == ENOENT) && fs::exists(final_.parent_path())) continue;
    if (fd_ < 0) fail("{}: cannot create: {}", path_.string(), std::strerror(errno));
    // Until the lock is held another writer may take this one for dead: then it is removed, and we try again.
    const bool taken = flock(fd_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (!taken && same_file(fd_, path_)) {
      note_.emplace(path_);
      return;
    }
    close(std::exchange(fd_, -1));
  }
  fail("{}: cannot create: other writers remove it", path_.string());
}

HiddenSibling::~HiddenSibling() {
  std::error_code ignored;
  if (note_) fs::remove_all(path_, ignored);
  note_.reset();
  close(fd_);
}

void HiddenSibling::rename() {
  if (std::rename(path_.c_str(), final_.c_str()) != 0)
    fail("{}: cannot rename {} to it: {}", final_.string(), path_.string(), std::strerror(errno));
  note_.reset();
}

}  // namespace whittle
