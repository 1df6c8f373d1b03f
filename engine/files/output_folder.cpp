#include "engine/files/output_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string_view>

#include "kernels/error.h"

namespace whittle {

namespace fs = std::filesystem;

namespace {

// config.json under a name that makes a model of no folder.
constexpr const char* partial_config = ".config.json.whittle-partial";

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

}  // namespace

void check_free_folder(const fs::path& path) {
  std::error_code error;
  const auto status = fs::symlink_status(path, error);
  if (!fs::exists(status)) return;
  if (!fs::is_directory(status) || !fs::is_empty(path, error) || error)
    fail("{}: exists already", path.string());
}

fs::path final_path_of(const fs::path& out) {
  const fs::path path = fs::absolute(out).lexically_normal();
  return path.has_filename() ? path : path.parent_path();
}

void sync_to_disk(const fs::path& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail("{}: {}", path.string(), std::strerror(errno));
  const int result = fsync(fd);
  const int error = errno;
  close(fd);
  if (result != 0 && error != EINVAL) fail("{}: cannot write: {}", path.string(), std::strerror(error));
}

OutputFolder::OutputFolder(const fs::path& final_path) : final_(final_path_of(final_path)) {
  // Killed between the two renames of commit().
  if (fs::exists(final_ / partial_config) && !fs::exists(final_ / "config.json")) remove_if_abandoned(final_);
  check_free_folder(final_);
  sibling_.emplace(final_, HiddenSibling::Kind::folder);
}

void OutputFolder::copy_side_files(const fs::path& source) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(source, error)) {
    const std::string name = entry.path().filename().string();
    const bool wanted =
        std::ranges::any_of(side_files, [&](std::string_view start) { return name.starts_with(start); });
    if (!wanted || !entry.is_regular_file()) continue;
    if (!fs::copy_file(entry.path(), path() / name, error)) break;
    fs::permissions(path() / name, fs::perms::owner_write, fs::perm_options::add, error);
  }
  if (error) fail("{}: cannot copy to {}: {}", source.string(), path().string(), error.message());
}

void OutputFolder::commit(const nlohmann::ordered_json& config) {
  const fs::path folder = path();
  std::ofstream stream(folder / partial_config);
  stream << config.dump(2) << "\n";
  stream.close();
  if (!stream) fail("{}: cannot write", (folder / partial_config).string());
  for (const auto& entry : fs::directory_iterator(folder)) sync_to_disk(entry.path());
  sync_to_disk(folder);
  check_interrupted();
  check_free_folder(final_);
  // Replaces an empty folder; a full one that has come up in the meantime makes it fail.
  sibling_->rename();
  if (std::rename((final_ / partial_config).c_str(), (final_ / "config.json").c_str()) != 0)
    fail("{}: cannot rename {} to it: {}", (final_ / "config.json").string(), partial_config,
         std::strerror(errno));
  sync_to_disk(final_);
  sync_to_disk(final_.parent_path());
}

}  // namespace whittle
