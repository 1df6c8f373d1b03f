#include "engine/files/safetensors_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>
#include <utility>

#include "engine/files/interrupts.h"
#include "engine/files/json_file.h"
#include "kernels/error.h"

namespace whittle {

namespace {

// Bytes of a mapped file that was cut short: reading them here ends the program as cut_file.h says, where the
// system would only refuse to write them.
void read_all(std::span<const std::byte> bytes) {
  for (const std::byte& byte : bytes) static_cast<void>(*static_cast<const volatile std::byte*>(&byte));
}

void write_at(int fd, int64_t offset, std::span<const std::byte> bytes, const std::string& file) {
  while (!bytes.empty()) {
    const ssize_t written = pwrite(fd, bytes.data(), bytes.size(), offset);
    if (written < 0) {
      if (errno == EINTR) continue;
      if (errno == EFAULT) read_all(bytes);
      fail("{}: cannot write: {}", file, std::strerror(errno));
    }
    bytes = bytes.subspan(static_cast<size_t>(written));
    offset += written;
  }
}

// Bytes of one file to a place nearer to its beginning; the two may overlap.
void move_down(int fd, int64_t from, int64_t to, int64_t size, const std::string& file) {
  constexpr int64_t most = int64_t{4} << 20;
  std::vector<std::byte> piece(static_cast<size_t>(std::min(size, most)));
  while (size > 0) {
    check_interrupted();
    const ssize_t read = pread(fd, piece.data(), static_cast<size_t>(std::min(size, most)), from);
    if (read < 0 && errno == EINTR) continue;
    if (read <= 0) fail("{}: cannot read: {}", file, read ? std::strerror(errno) : "it has become shorter");
    write_at(fd, to, std::span(piece).first(static_cast<size_t>(read)), file);
    from += read;
    to += read;
    size -= read;
  }
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path, std::span<const TensorInfo> tensors,
                                     const std::map<std::string, std::string>& metadata)
    : path_(path), metadata_(metadata), tensors_(tensors.begin(), tensors.end()) {
  // Wide elements first, as other writers do: every tensor then begins at a multiple of its element size,
  // which some readers need.
  std::ranges::stable_sort(tensors_, std::ranges::greater(),
                           [](const TensorInfo& tensor) { return bits(tensor.dtype); });
  int64_t end = 0;
  for (const TensorInfo& tensor : tensors_) {
    const auto size = tensor_bytes(tensor.dtype, tensor.shape);
    if (!size || *size > (int64_t{1} << 62) - end) {
      fail("{}: tensor {}: shape {} has no size", path.string(), quote(tensor.name),
           shape_text(tensor.shape));
    }
    const auto [found, is_new] = places_.try_emplace(tensor.name);
    if (!is_new) fail("{}: tensor {} is named twice", path.string(), quote(tensor.name));
    found->second.offset = end;
    found->second.size = *size;
    end += *size;
  }
  // "BF16" is a byte longer than "F16".
  std::string text = header();
  text.append(static_cast<size_t>(std::ranges::count(tensors_, DType::F16, &TensorInfo::dtype)), ' ');
  text.append((8 - text.size() % 8) % 8, ' ');
  const uint64_t length = text.size();
  header_bytes_ = static_cast<int64_t>(length);

  fd_ = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd_ < 0) fail("{}: cannot create: {}", path.string(), std::strerror(errno));
  try {
    write_at(fd_, 0, std::as_bytes(std::span(&length, 1)), path.string());
    write_at(fd_, 8, std::as_bytes(std::span(text)), path.string());
  } catch (...) {
    close(fd_);
    throw;
  }
}

std::string SafetensorsWriter::header() const {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata_.empty()) header["__metadata__"] = metadata_;
  for (const auto& [tensor, dtype, shape] : tensors_) {
    const Place& place = places_.find(tensor)->second;
    header[tensor] = {{"dtype", name(dtype)},
                      {"shape", shape},
                      {"data_offsets", {place.offset, place.offset + place.size}}};
  }
  return header.dump();
}

SafetensorsWriter::~SafetensorsWriter() {
  if (fd_ >= 0) close(fd_);
}

void SafetensorsWriter::write(std::string_view tensor, int64_t byte_offset,
                              std::span<const std::byte> bytes) {
  const auto found = places_.find(tensor);
  if (found == places_.end()) fail("{}: no tensor {} was announced", path_.string(), quote(tensor));
  Place& place = found->second;
  const auto size = static_cast<int64_t>(bytes.size());
  if (byte_offset < 0 || byte_offset > place.size || size > place.size - byte_offset) {
    fail("{}: tensor {}: {} bytes at {} do not fit its {} bytes", path_.string(), quote(tensor), size,
         byte_offset, place.size);
  }
  write_at(fd_, 8 + header_bytes_ + place.offset + byte_offset, bytes, path_.string());
  place.written += size;
}

void SafetensorsWriter::make_bf16(std::string_view tensor) {
  const auto found = std::ranges::find(tensors_, tensor, &TensorInfo::name);
  assert(found != tensors_.end() && found->dtype == DType::F16);
  found->dtype = DType::BF16;
  retyped_ = true;
}

void SafetensorsWriter::shrink(std::string_view tensor, const std::vector<int64_t>& shape) {
  const auto found = std::ranges::find(tensors_, tensor, &TensorInfo::name);
  assert(found != tensors_.end() && found->shape.size() == shape.size());
  Place& place = places_.find(tensor)->second;
  const std::optional<int64_t> size = tensor_bytes(found->dtype, shape);
  assert(size && *size <= place.size && place.written == 0);
  found->shape = shape;
  place.size = *size;
  shrunk_ = true;
}

// Tensors are moved in the order of their places, each to where the one before it ends now.
void SafetensorsWriter::close_gaps() {
  const int64_t begin = 8 + header_bytes_;
  int64_t end = 0;
  for (const TensorInfo& tensor : tensors_) {
    Place& place = places_.find(tensor.name)->second;
    if (place.offset != end) move_down(fd_, begin + place.offset, begin + end, place.size, path_.string());
    place.offset = end;
    end += place.size;
  }
  if (ftruncate(fd_, begin + end) != 0) fail("{}: cannot write: {}", path_.string(), std::strerror(errno));
}

void SafetensorsWriter::finish() {
  for (const auto& [tensor, place] : places_) {
    if (place.written != place.size) {
      fail("{}: tensor {}: {} of {} bytes were written", path_.string(), quote(tensor), place.written.load(),
           place.size);
    }
  }
  if (shrunk_) close_gaps();
  if (retyped_ || shrunk_) {
    std::string text = header();
    text.resize(static_cast<size_t>(header_bytes_), ' ');
    write_at(fd_, 8, std::as_bytes(std::span(text)), path_.string());
  }
  if (fsync(fd_) != 0) fail("{}: cannot write: {}", path_.string(), std::strerror(errno));
  const int fd = std::exchange(fd_, -1);
  if (close(fd) != 0) fail("{}: cannot write: {}", path_.string(), std::strerror(errno));
}

}  // namespace whittle
