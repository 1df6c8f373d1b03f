#pragma once
// What the weight files that we write say of how they were made.

#include <map>
#include <optional>
#include <string>

#include "bench/drift/drift.h"

namespace whittle {

// The metadata of a safetensors file. version: of the program; recipe, method: in words; held_out: what the
// model was judged by, where it was.
std::map<std::string, std::string> provenance(const std::string& version, const std::string& recipe,
                                              const std::string& method,
                                              const std::optional<DriftReport>& held_out);

}  // namespace whittle
