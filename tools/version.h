#pragma once
#include <string>

namespace whittle {

// "whittle 0.1.0 (commit 0123456789ab)"; "-dirty" after the commit where files differ from it, "unknown"
// instead where the source is not a git checkout.
std::string version_text();

}  // namespace whittle
