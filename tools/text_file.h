#pragma once
// Text given on the command line.

#include <fstream>
#include <iterator>
#include <string>

#include "kernels/error.h"

namespace whittle {

inline std::string read_text_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail("{}: cannot be read", path);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (file.bad()) fail("{}: cannot be read", path);
  return text;
}

}  // namespace whittle
