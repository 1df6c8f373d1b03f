#include "tools/version.h"

#include "tools/commit.h"  // made by commit.cmake in the build folder; only this file is compiled again for it

namespace whittle {

std::string version_text() { return "whittle " WHITTLE_VERSION " (commit " WHITTLE_COMMIT ")"; }

}  // namespace whittle
