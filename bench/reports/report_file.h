#pragma once
// A report that was written with `--json`, read again.

#include <nlohmann/json.hpp>
#include <string>

namespace whittle {

struct ReportFile {
  std::string path;    // as given
  std::string schema;  // "whittle.bench"
  int version = 1;     // of the schema
  nlohmann::json json;
};

// Any that this program writes, or wrote since its reports have versions; "-": standard input. What lacks a
// header, as machine, quantize, prune, inspect, generate and whittle_compare_peers wrote at first, is told by
// its keys and gets one; the fingerprint of what has none is null. Throws Error that names the file and the
// place in it for what is no JSON, larger than 128 MiB or nested deeper than 64 levels, of an unknown schema
// or of a newer version, or not as its schema says.
ReportFile read_report(const std::string& path);

}  // namespace whittle
