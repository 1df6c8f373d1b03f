#pragma once
// Calibration text as a file of windows of ids.

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/support/tiny_model.h"

namespace whittle::test {

// Eight of forty ids each, all below 40: the last is held out, and of the others the last judges fits.
inline std::filesystem::path write_windows(const std::filesystem::path& folder) {
  constexpr uint64_t vocab = 40;
  SplitMix64 random(11);
  nlohmann::json windows = nlohmann::json::array();
  for (int w = 0; w < 8; ++w) {
    windows.push_back(nlohmann::json::array());
    for (int i = 0; i < 40; ++i) windows.back().push_back(random.bits() % vocab);
  }
  write_text(folder / "windows.json", windows.dump());
  return folder / "windows.json";
}

}  // namespace whittle::test
