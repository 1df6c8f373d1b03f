#pragma once
// The folder that a comparison of recipes works in: the texts, the models while they are measured, and what
// each finished recipe came to, a JSON file each, so that another run goes on from there.

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "quant/frontier/result.h"

namespace whittle {

class FrontierWork {
 public:
  // identity: an object of everything that all figures depend on. resume: go on from a run of the same
  // identity, where there is one. Throws Error where the folder is in use, belongs to another identity, or
  // holds anything when this run does not go on.
  // keep_models: of finished ones that are there.
  FrontierWork(const std::filesystem::path& folder, const nlohmann::json& identity, bool resume,
               bool keep_models);
  ~FrontierWork();
  FrontierWork(const FrontierWork&) = delete;
  FrontierWork& operator=(const FrontierWork&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path file(const std::string& name) const { return path_ / (name + ".json"); }
  // What was kept under this name; null where nothing was, or it cannot be read.
  nlohmann::json load(const std::string& name) const;
  void save(const std::string& name, const nlohmann::json& json) const;

  // Where models are written. What a run that was killed left there is gone.
  std::filesystem::path models() const { return path_ / "models"; }
  void remove_models() const;
  // All that such runs write, and the folder, if it holds nothing else.
  void remove() const;

 private:
  void claim(const nlohmann::json& identity, bool resume) const;

  const std::filesystem::path path_;
  int fd_ = -1;  // the lock hangs on it
};

}  // namespace whittle
