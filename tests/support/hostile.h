#pragma once
// Model folders as a stranger might make them: each must give one Error that names the file and the field or
// tensor.

#include <catch2/catch.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/model.h"
#include "kernels/error.h"
#include "kernels/threads.h"

namespace whittle::test {

// Reads and packs all that an engine does.
inline void load(const std::filesystem::path& folder) {
  static const Team team(1);
  const Model model(folder, team);
  std::vector<float> row(static_cast<size_t>(model.spec().hidden_size));
  model.embed(0, 0, row.data());
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
