#pragma once
// What a long run has finished so far, so that another one can go on from there: ".NAME.whittle-work", a
// hidden folder beside the output. It is no model; each file in it appears when it is complete. It goes all
// at once, under a name that every writer to the same place clears away (hidden_sibling.h): a kill -9 leaves
// it as it was or not at all.

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/files/cut_file.h"
#include "engine/files/safetensors.h"
#include "quant/quantized_matrix.h"

namespace whittle {

class WorkFolder {
 public:
  // identity: an object of everything that the results depend on. resume: go on from what a run of the same
  // identity left, and leave the folder for another when this one does not end well; else what was left is
  // removed, and nothing is left. Throws Error where the folder is in use, belongs to another identity, or
  // holds what no run has written.
  WorkFolder(const std::filesystem::path& out, const nlohmann::json& identity, bool resume);
  ~WorkFolder();
  WorkFolder(const WorkFolder&) = delete;
  WorkFolder& operator=(const WorkFolder&) = delete;

  static std::filesystem::path path_for(const std::filesystem::path& out);
  // A sentence where a run's work is there, which one that keeps none does not look at; else "".
  static std::string left_note(const std::filesystem::path& out);
  const std::filesystem::path& path() const { return path_; }

  struct Part {
    std::string name;
    DType dtype = DType::F32;
    std::span<const std::byte> bytes;
  };
  // Names are those of modules, or words without a slash. Throws Error.
  void save(const std::string& name, std::span<const Part> parts, const nlohmann::json& facts);
  // What was saved under this name, if it was.
  std::optional<SafetensorsFile> open(const std::string& name) const;
  static nlohmann::json facts(const SafetensorsFile& file);

  void save_module(const std::string& name, const QuantizedMatrix& matrix);
  // Throws Error where it does not fit the scheme.
  std::optional<QuantizedMatrix> load_module(const std::string& name, const QuantizationScheme& scheme,
                                             int64_t rows, int64_t cols) const;

  // The output is complete: nobody needs this any more.
  void finish() { finished_ = true; }

 private:
  std::filesystem::path file(const std::string& name) const { return path_ / (name + ".safetensors"); }
  void lock();
  void unlock();
  bool claim(const nlohmann::json& identity);
  void write_identity(const nlohmann::json& identity);
  void remove();

  const std::filesystem::path out_, path_;
  const bool resume_;
  bool finished_ = false, locked_ = false;
  int fd_ = -1;  // the lock hangs on it
  std::optional<NotedOutput> note_;
};

}  // namespace whittle
