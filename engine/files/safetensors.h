#pragma once
// One safetensors file, mapped read-only: tensors by name, every rule of the format checked on opening.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/files/mapped_file.h"

namespace whittle {

// Element types by their names in the format. Nothing of ours computes with float8 and narrower, but a file
// that holds such tensors opens.
// clang-format off
enum class DType : uint8_t {
  F64, F32, F16, BF16, I64, I32, I16, I8, U64, U32, U16, U8, BOOL, C64,
  F8_E4M3, F8_E5M2, F8_E8M0, F8_E4M3FNUZ, F8_E5M2FNUZ, F6_E2M3, F6_E3M2, F4
};
// clang-format on

std::string_view name(DType dtype);
int bits(DType dtype);  // of one element
std::optional<DType> dtype_named(std::string_view name);

struct TensorView {
  std::string name;
  DType dtype = DType::F32;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;             // into the mapping; no alignment is promised
  const std::filesystem::path* file = nullptr;  // for messages; lives as long as the mapping

  int64_t elements() const;
};

// The bytes of a tensor; nullopt when a dimension is negative, the size passes 2^62 or is not a whole number
// of bytes.
std::optional<int64_t> tensor_bytes(DType dtype, std::span<const int64_t> shape);
// "[2, 3]"
std::string shape_text(std::span<const int64_t> shape);

class SafetensorsFile {
 public:
  // Throws Error that names the file and the tensor or field.
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_->path(); }
  std::span<const TensorView> tensors() const { return tensors_; }  // sorted by name
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  int64_t disk_bytes() const { return static_cast<int64_t>(file_->bytes().size()); }
  const MappedFile& mapping() const { return *file_; }

 private:
  std::unique_ptr<MappedFile> file_;  // its own allocation, so that TensorView::file survives a move
  std::vector<TensorView> tensors_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace whittle
