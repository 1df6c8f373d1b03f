#include "quant/gguf/writer.h"

#include <unistd.h>

#include <cassert>
#include <cerrno>
#include <cstring>

#include "engine/files/output_folder.h"
#include "kernels/error.h"

namespace whittle {

namespace fs = std::filesystem;

namespace {

constexpr int64_t alignment = 32;  // the format's default
constexpr std::byte zeros[alignment] = {};

int64_t padding(int64_t size) { return (alignment - size % alignment) % alignment; }

// The front of the file. The machine is little-endian, as the format is.
class Header {
 public:
  const std::string& bytes() const { return bytes_; }

  template <typename T>
  void number(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void text(const std::string& value) {
    number(static_cast<uint64_t>(value.size()));
    bytes_ += value;
  }

  // A value after the number of its type, as metadata has them.
  void typed(uint32_t value) { type(4), number(value); }
  void typed(int32_t value) { type(5), number(value); }
  void typed(float value) { type(6), number(value); }
  void typed(bool value) { type(7), number(static_cast<uint8_t>(value)); }
  void typed(const std::string& value) { type(8), text(value); }
  void typed(const std::vector<int32_t>& values) {
    array(5, values.size());
    for (const int32_t value : values) number(value);
  }
  void typed(const std::vector<float>& values) {
    array(6, values.size());
    for (const float value : values) number(value);
  }
  void typed(const std::vector<std::string>& values) {
    array(8, values.size());
    for (const std::string& value : values) text(value);
  }

 private:
  void type(uint32_t number_of_type) { number(number_of_type); }
  void array(uint32_t element_type, size_t count) {
    type(9), type(element_type);
    number(static_cast<uint64_t>(count));
  }

  std::string bytes_ = "GGUF";
};

std::string header_of(const GgufMetadata& metadata, std::span<const GgufTensor> tensors) {
  Header header;
  header.number(uint32_t{3});
  header.number(static_cast<uint64_t>(tensors.size()));
  header.number(static_cast<uint64_t>(metadata.size()));
  for (const auto& [key, value] : metadata) {
    header.text(key);
    std::visit([&](const auto& content) { header.typed(content); }, value);
  }
  int64_t offset = 0;
  for (const GgufTensor& tensor : tensors) {
    header.text(tensor.name);
    header.number(uint32_t{tensor.rows ? 2u : 1u});
    header.number(static_cast<uint64_t>(tensor.cols));  // the dimension of adjacent values comes first
    if (tensor.rows) header.number(static_cast<uint64_t>(tensor.rows));
    header.number(static_cast<uint32_t>(tensor.type));
    header.number(static_cast<uint64_t>(offset));
    offset += tensor.bytes() + padding(tensor.bytes());
  }
  return header.bytes();
}

void check_free(const fs::path& path) {
  std::error_code ignored;
  if (fs::exists(fs::symlink_status(path, ignored))) fail("{}: exists already", path.string());
}

}  // namespace

GgufWriter::GgufWriter(const fs::path& path, const GgufMetadata& metadata,
                       std::span<const GgufTensor> tensors)
    : path_(fs::absolute(path)) {
  check_free(path_);
  for (const GgufTensor& tensor : tensors) {
    assert(tensor.cols % info(tensor.type).block == 0);
    sizes_.push_back(tensor.bytes());
  }
  const std::string header = header_of(metadata, tensors);
  sibling_.emplace(path_, HiddenSibling::Kind::file);
  put(std::as_bytes(std::span(header)));
  put(std::span(zeros).first(static_cast<size_t>(padding(static_cast<int64_t>(header.size())))));
  if (!sizes_.empty()) left_ = sizes_[0];
}

void GgufWriter::put(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(sibling_->fd(), bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      fail("{}: cannot write: {}", path_.string(), std::strerror(errno));
    }
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
}

void GgufWriter::write(std::span<const std::byte> bytes) {
  assert(tensor_ < sizes_.size() && static_cast<int64_t>(bytes.size()) <= left_);
  put(bytes);
  left_ -= static_cast<int64_t>(bytes.size());
  if (left_ > 0) return;
  put(std::span(zeros).first(static_cast<size_t>(padding(sizes_[tensor_]))));
  if (++tensor_ < sizes_.size()) left_ = sizes_[tensor_];
}

void GgufWriter::finish() {
  assert(tensor_ == sizes_.size());
  if (fsync(sibling_->fd()) != 0) fail("{}: cannot write: {}", path_.string(), std::strerror(errno));
  check_free(path_);
  sibling_->rename();
  sync_to_disk(path_.parent_path());
}

}  // namespace whittle
