#pragma once
// How GGUF stores the numbers of a tensor. Rows are cut into blocks, and each block stands alone.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace whittle {

enum class GgufType : uint32_t { f32 = 0, f16 = 1, q4_0 = 2, q8_0 = 8 };  // the format's own numbers

struct GgufTypeInfo {
  GgufType type;
  std::string_view name;  // as on the command line
  uint32_t file_type;     // "general.file_type" of a file whose matrices are mostly this
  int64_t block;          // values a block; a row is a whole number of blocks
  int64_t block_bytes;
  float limit;  // magnitudes must be below this: from there on a value or a scale rounds to infinity
  // `cols` values, all below the limit, to their blocks.
  void (*encode_row)(const float* values, int64_t cols, std::byte* row);
};

std::span<const GgufTypeInfo> gguf_types();
const GgufTypeInfo& info(GgufType type);
std::optional<GgufType> gguf_type_named(std::string_view name);

}  // namespace whittle
