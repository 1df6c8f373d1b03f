#pragma once
// A folder that appears under its name only when it is complete.
//
// Files are written into a hidden sibling (hidden_sibling.h), which has no config.json. commit() renames it,
// and gives config.json its name last of all. No loader, ours or another, takes a folder without one: what a
// kill -9 leaves behind, at any moment, is not a model, and the next writer to the same place removes it.

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "engine/files/hidden_sibling.h"

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
  std::filesystem::path final_;
  std::optional<HiddenSibling> sibling_;
};

// Brings a file, or a folder's list of names where the file system knows that, to the disk. Throws Error that
// names it.
void sync_to_disk(const std::filesystem::path& path);

// Asks SIGINT, SIGTERM and SIGHUP to set a flag instead of ending the program; a second signal ends it at
// once. Called once, by main().
void catch_interrupts();
// Throws Error("interrupted …") when such a signal has come. Long loops that write an OutputFolder call it
// for each tensor: unwinding then removes the folder.
void check_interrupted();

}  // namespace whittle
