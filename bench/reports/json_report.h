#pragma once
// Every report's `--json FILE`.

#include <nlohmann/json.hpp>
#include <string>

namespace whittle {

// Writes `json`, indented, with a final newline. `path` "-" is standard output; a file appears complete or
// not at all, replacing one that was there. Numbers that are not finite become null. Throws Error that names
// the file.
void write_json(const std::string& path, const nlohmann::json& json);

}  // namespace whittle
