#pragma once
// Every report's `--json FILE`.

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "bench/fingerprint.h"
#include "engine/files/json_file.h"

namespace whittle {

// What every report begins with: `schema`, "whittle." and its name, the schema's `version`, and
// `fingerprint`.
nlohmann::json report_header(std::string_view name, const Fingerprint& fingerprint, int version = 1);
// Throws Error unless these are the fields of such a report, of a version from 1 to `newest`.
void check_header(const JsonFields& fields, std::string_view name, int newest);

// Throws Error where write_json() could not write to `path`: to be called before the work whose report it is.
// Changes nothing.
void check_report_path(const std::string& path);

// Writes `json`, indented, the header first, with a final newline. `path` "-" is standard output; a file
// appears complete or not at all, replacing one that was there. Numbers that are not finite become null.
// Throws Error that names the file. Signals that end the program wait until the file is complete.
void write_json(const std::string& path, const nlohmann::json& json);
// The same for text as it is: a report of another kind.
void write_report(const std::string& path, const std::string& text);

}  // namespace whittle
