#pragma once
// How keys and values are stored in a cache. The table in kv_format.cpp is the whole truth about a format:
// the cache, the command line and the tests loop over it.

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace whittle {

enum class KvFormat : uint8_t { f32, f16, int8 };

struct KvFormatInfo {
  KvFormat format;
  std::string_view name;  // as on the command line and in reports
  int64_t element_bytes;
  bool scaled;  // each position has a float scale for its key and one for its value
};

// Every format, indexed by the enumerator.
std::span<const KvFormatInfo> kv_formats();
const KvFormatInfo& info(KvFormat format);
std::optional<KvFormat> kv_format_named(std::string_view name);

}  // namespace whittle
