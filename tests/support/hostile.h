#pragma once
// Model folders as a stranger might make them: each must give one Error that names the file and the field or
// tensor.

#include <catch2/catch.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/weight_source.h"
#include "kernels/error.h"

namespace whittle::test {

// Reads all that an engine would.
inline void load(const std::filesystem::path& folder) {
  const FolderWeights weights(folder);
  for (const Module& module : weights.inventory().modules()) {
    if (module.matrix())
      weights.matrix(module);
    else
      weights.weight_vector(module);
    if (module.bias) weights.bias(module);
  }
}

// `names`: what the message must contain.
inline void check_refused(const std::filesystem::path& folder, const std::string& what,
                          const std::vector<std::string>& names) {
  INFO(what);
  try {
    load(folder);
    FAIL_CHECK("it loaded");
  } catch (const Error& error) {
    const std::string message = error.what();
    INFO(message);
    CHECK(message.size() < 1000);
    for (const std::string& name : names) CHECK_THAT(message, Catch::Matchers::Contains(name));
  }
}

inline const std::string weights_name = "model.safetensors", config_name = "config.json",
                         index_name = "model.safetensors.index.json";

}  // namespace whittle::test
