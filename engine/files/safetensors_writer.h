#pragma once
// Writes one safetensors file: names and shapes first, then the bytes in any order, from any number of
// threads.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/files/safetensors.h"

namespace whittle {

struct TensorInfo {
  std::string name;
  DType dtype = DType::F32;
  std::vector<int64_t> shape;
};

class SafetensorsWriter {
 public:
  // Creates `path`, which must not exist, and writes the header. Tensors are laid out in the order given;
  // names must be unique. Throws Error that names the file.
  SafetensorsWriter(const std::filesystem::path& path, std::span<const TensorInfo> tensors,
                    const std::map<std::string, std::string>& metadata);
  ~SafetensorsWriter();
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;

  // Writes `bytes` at `byte_offset` of the tensor. Pieces may come in any order and from several threads;
  // each byte of a tensor is written once.
  void write(std::string_view name, int64_t byte_offset, std::span<const std::byte> bytes);
  void write(std::string_view name, std::span<const std::byte> bytes) { write(name, 0, bytes); }

  // What was announced as F16 turns out to be BF16. Called by one thread, before finish().
  void make_bf16(std::string_view name);

  // What was announced as the most that the tensor can hold turns out to be less. Called by one thread,
  // before any of it is written.
  void shrink(std::string_view name, const std::vector<int64_t>& shape);

  // Checks that every byte was written, closes the gaps that shrunk tensors left, and brings the file to the
  // disk. Nothing may be written after it.
  void finish();

 private:
  std::string header() const;  // without its length
  void close_gaps();

  struct Place {
    int64_t offset = 0, size = 0;  // behind the header
    std::atomic<int64_t> written = 0;
  };

  std::filesystem::path path_;
  std::map<std::string, std::string> metadata_;
  std::vector<TensorInfo> tensors_;  // in the order of their places
  int64_t header_bytes_ = 0;
  bool retyped_ = false, shrunk_ = false;
  std::map<std::string, Place, std::less<>> places_;
  int fd_ = -1;
};

}  // namespace whittle
