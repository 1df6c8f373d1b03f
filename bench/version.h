#pragma once
// Which build of the program this is.

#include <string>

namespace whittle {

struct Build {
  std::string version;  // "0.1.0"
  std::string commit;   // "0123456789ab"; "-dirty" after it where files differ from it, "unknown" outside git
  std::string compiler;  // "GCC 12.2.0"
  std::string type;      // "Release", as CMake has it; ", with sanitizers"
};
Build this_build();

// "whittle 0.1.0 (commit 0123456789ab)".
std::string version_text();

}  // namespace whittle
