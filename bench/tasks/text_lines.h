#pragma once
// The lines of a text, and their white space.

#include <cstdint>
#include <string_view>
#include <vector>

namespace whittle {

struct TextLine {
  int64_t number = 0;  // from 1
  std::string_view text;
};

// Without their ends ("\n" or "\r\n"), a byte order mark before the first, and blank ones.
std::vector<TextLine> lines_of(std::string_view text);

// Valid UTF-8 without its white space (Unicode's) at the end, or at both ends.
std::string_view trimmed_end(std::string_view text);
std::string_view trimmed(std::string_view text);

}  // namespace whittle
