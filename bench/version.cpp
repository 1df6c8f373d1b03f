#include "bench/version.h"

#include "bench/commit.h"  // made by commit.cmake in the build folder; only this file is compiled again for it

namespace whittle {

Build this_build() {
#ifdef __clang__
  const std::string compiler = "Clang " __clang_version__;
#else
  const std::string compiler = "GCC " __VERSION__;
#endif
  return {WHITTLE_VERSION, WHITTLE_COMMIT, compiler, WHITTLE_BUILD_TYPE};
}

std::string version_text() {
  const Build build = this_build();
  return "whittle " + build.version + " (commit " + build.commit + ")";
}

}  // namespace whittle
