#include "kernels/kv_format.h"

namespace whittle {
namespace {

constexpr KvFormatInfo formats[] = {
    {KvFormat::f32, "f32", 4, false},
    {KvFormat::f16, "f16", 2, false},
    {KvFormat::int8, "int8", 1, true},
};

}  // namespace

std::span<const KvFormatInfo> kv_formats() { return formats; }

const KvFormatInfo& info(KvFormat format) { return formats[static_cast<size_t>(format)]; }

std::optional<KvFormat> kv_format_named(std::string_view name) {
  for (const KvFormatInfo& row : formats)
    if (row.name == name) return row.format;
  return std::nullopt;
}

}  // namespace whittle
