#pragma once
// What `git clone` leaves in the place of a large file when git-lfs is not installed.

#include <filesystem>
#include <string_view>

#include "kernels/error.h"

namespace whittle {

// Throws Error when `bytes`, the beginning of `file`, are such a pointer.
inline void refuse_lfs_pointer(std::string_view bytes, const std::filesystem::path& file) {
  if (bytes.starts_with("version https://git-lfs"))
    fail("{}: a git-lfs pointer in place of the file; `git lfs pull` in its folder fetches it",
         file.string());
}

}  // namespace whittle
