#include "engine/files/output_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <random>
#include <string_view>

#include "kernels/error.h"

namespace whittle {

namespace fs = std::filesystem;

namespace {

// What these names begin with. Weights and config.json are never copied.
constexpr std::string_view side_files[] = {"tokenizer",
                                           "generation_config.json",
                                           "special_tokens_map.json",
                                           "added_tokens.json",
                                           "vocab.",
                                           "merges.txt",
                                           "chat_template",
                                           "LICENSE",
                                           "NOTICE",
                                           "USE_POLICY"};

fs::path without_trailing_slash(fs::path path) {
  path = fs::absolute(path).lexically_normal();
  return path.has_filename() ? path : path.parent_path();
}

void check_free(const fs::path& path) {
  std::error_code error;
  const auto status = fs::symlink_status(path, error);
  if (!fs::exists(status)) return;
  if (!fs::is_directory(status) || !fs::is_empty(path, error) || error)
    fail("{}: exists already", path.string());
}

}  // namespace

void sync_to_disk(const fs::path& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail("{}: {}", path.string(), std::strerror(errno));
  const int result = fsync(fd);
  const int error = errno;
  close(fd);
  if (result != 0 && error != EINVAL) fail("{}: cannot write: {}", path.string(), std::strerror(error));
}

OutputFolder::OutputFolder(const fs::path& final_path) : final_(without_trailing_slash(final_path)) {
  check_free(final_);
  std::random_device random;
  const std::string name = fmt::format(".{}.whittle-{:08x}", final_.filename().string(), random());
  temporary_ = final_.parent_path() / name;
  std::error_code error;
  if (!fs::create_directory(temporary_, error)) {
    fail("{}: cannot create: {}", temporary_.string(), error ? error.message() : "exists already");
  }
}

OutputFolder::~OutputFolder() {
  std::error_code ignored;
  if (!committed_) fs::remove_all(temporary_, ignored);
}

void OutputFolder::copy_side_files(const fs::path& source) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(source, error)) {
    const std::string name = entry.path().filename().string();
    const bool wanted =
        std::ranges::any_of(side_files, [&](std::string_view start) { return name.starts_with(start); });
    if (!wanted || !entry.is_regular_file()) continue;
    if (!fs::copy_file(entry.path(), temporary_ / name, error)) break;
    fs::permissions(temporary_ / name, fs::perms::owner_write, fs::perm_options::add, error);
  }
  if (error) fail("{}: cannot copy to {}: {}", source.string(), temporary_.string(), error.message());
}

void OutputFolder::commit(const nlohmann::ordered_json& config) {
  const fs::path partial =
      "config.json.partial";  // under its own name only where it makes a model of the final folder
  std::ofstream stream(temporary_ / partial);
  stream << config.dump(2) << "\n";
  stream.close();
  if (!stream) fail("{}: cannot write", (temporary_ / partial).string());
  for (const auto& entry : fs::directory_iterator(temporary_)) sync_to_disk(entry.path());
  sync_to_disk(temporary_);
  check_interrupted();
  check_free(final_);
  const auto rename = [](const fs::path& from, const fs::path& to) {
    if (std::rename(from.c_str(), to.c_str()) != 0)
      fail("{}: cannot rename {} to it: {}", to.string(), from.string(), std::strerror(errno));
  };
  // Replaces an empty folder; a full one that has come up in the meantime makes it fail.
  rename(temporary_, final_);
  committed_ = true;
  rename(final_ / partial, final_ / "config.json");
  sync_to_disk(final_);
  sync_to_disk(final_.parent_path());
}

}  // namespace whittle
