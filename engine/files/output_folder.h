#pragma once
// A folder that appears under its name only when it is complete.
//
// Files are written into a hidden sibling (hidden_sibling.h), which has no config.json. commit() renames it,
// and gives config.json its name last of all. No loader, ours or another, takes a folder without one: what a
// kill -9 leaves behind, at any moment, is not a model, and the next writer to the same place removes it.
// Other signals wait until the folder is removed.

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "engine/files/hidden_sibling.h"
#include "engine/files/interrupts.h"

namespace whittle {

class OutputFolder {
 public:
  // Creates the sibling, which goes with this object unless commit() has been called. Throws Error when
  // `final_path` exists and is anything but an empty folder, or when its parent cannot be written.
  explicit OutputFolder(const std::filesystem::path& final_path);
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  // Where to write files until commit().
  const std::filesystem::path& path() const { return sibling_->path(); }

  // Copies what a model needs beside its weights and config.json, unchanged: tokenizer files,
  // generation_config.json, chat templates, licences. Not its README, which speaks of the source model.
  void copy_side_files(const std::filesystem::path& source);

  // Brings everything to the disk, renames the folder to its final name, and writes config.json.
  void commit(const nlohmann::ordered_json& config);

 private:
  HeldInterrupts held_;
  std::filesystem::path final_;
  std::optional<HiddenSibling> sibling_;
};

// Throws Error when there is anything but an empty folder.
void check_free_folder(const std::filesystem::path& path);

// The absolute path of an output, without a slash at its end.
std::filesystem::path final_path_of(const std::filesystem::path& out);

// Brings a file, or a folder's list of names where the file system knows that, to the disk. Throws Error that
// names it.
void sync_to_disk(const std::filesystem::path& path);

}  // namespace whittle
