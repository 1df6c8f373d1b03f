#pragma once
// Writes one GGUF file, version 3: metadata, the list of tensors, and their bytes.
//
// The bytes go into a hidden sibling (hidden_sibling.h), which gets its name when it is complete: whoever
// finds a file under that name finds all of it.

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "engine/files/hidden_sibling.h"
#include "engine/files/interrupts.h"
#include "quant/gguf/types.h"

namespace whittle {

struct GgufEntry {
  std::string key;
  std::variant<uint32_t, int32_t, float, bool, std::string, std::vector<int32_t>, std::vector<float>,
               std::vector<std::string>>
      value;
};
using GgufMetadata = std::vector<GgufEntry>;

struct GgufTensor {
  std::string name;
  GgufType type = GgufType::f32;
  int64_t rows = 0, cols = 0;  // a vector has rows = 0

  int64_t row_bytes() const { return cols / info(type).block * info(type).block_bytes; }
  int64_t bytes() const { return (rows ? rows : 1) * row_bytes(); }
};

class GgufWriter {
 public:
  // Creates the sibling, which goes with this object unless finish() has been called, and writes all but the
  // tensors' bytes. Throws Error that names the file, also where `path` exists.
  GgufWriter(const std::filesystem::path& path, const GgufMetadata& metadata,
             std::span<const GgufTensor> tensors);

  // The next bytes of the tensors, in the order in which they were given.
  void write(std::span<const std::byte> bytes);

  // Brings everything to the disk and gives the file its name. Every byte must have been written.
  void finish();

 private:
  void put(std::span<const std::byte> bytes);  // at the end of the file

  HeldInterrupts held_;
  std::filesystem::path path_;
  std::optional<HiddenSibling> sibling_;
  std::vector<int64_t> sizes_;  // of the tensors
  size_t tensor_ = 0;           // the one being written
  int64_t left_ = 0;            // of its bytes
};

}  // namespace whittle
