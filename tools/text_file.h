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

// The first `count` characters (code points) of UTF-8 text.
inline std::string first_characters(const std::string& text, int64_t count) {
  size_t at = 0;
  for (; at < text.size(); ++at)
    if ((static_cast<unsigned char>(text[at]) & 0xc0u) != 0x80u && count-- == 0) break;
  return text.substr(0, at);
}

}  // namespace whittle
