#include "engine/files/safetensors_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>
#include <utility>

#include "engine/files/json_file.h"
#include "kernels/error.h"

namespace whittle {

namespace {

void write_at(int fd, int64_t offset, std::span<const std::byte> bytes, const std::string& file) {
  while (!bytes.empty()) {
    const ssize_t written = pwrite(fd, bytes.data(), bytes.size(), offset);
    if (written < 0) {
      if (errno == EINTR) continue;
      fail("{}: cannot write: {}", file, std::strerror(errno));
    }
    bytes = bytes.subspan(static_cast<size_t>(written));
    offset += written;
  }
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path, std::span<const TensorInfo> tensors,
                                     const std::map<std::string, std::string>& metadata)
    : path_(path) {
  // Wide elements first, as other writers do: every tensor then begins at a multiple of its element size,
  // which some readers need.
  std::vector<const TensorInfo*> order;
  for (const TensorInfo& tensor : tensors) order.push_back(&tensor);
  std::ranges::stable_sort(order, std::ranges::greater(),
                           [](const TensorInfo* tensor) { return bits(tensor->dtype); });

  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  int64_t end = 0;
  for (const TensorInfo* tensor : order) {
    const auto size = tensor_bytes(tensor->dtype, tensor->shape);
    if (!size || *size > (int64_t{1} << 62) - end) {
      fail("{}: tensor {}: shape {} has no size", path.string(), quote(tensor->name),
           shape_text(tensor->shape));
    }
    const auto [found, is_new] = places_.try_emplace(tensor->name);
    if (!is_new) fail("{}: tensor {} is named twice", path.string(), quote(tensor->name));
    Place& place = found->second;
    place.offset = end;
    place.size = *size;
    end += *size;
    header[tensor->name] = {
        {"dtype", name(tensor->dtype)}, {"shape", tensor->shape}, {"data_offsets", {place.offset, end}}};
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  const uint64_t length = text.size();
  for (auto& [unused, place] : places_) place.offset += 8 + static_cast<int64_t>(length);

  fd_ = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd_ < 0) fail("{}: cannot create: {}", path.string(), std::strerror(errno));
  try {
    write_at(fd_, 0, std::as_bytes(std::span(&length, 1)), path.string());
    write_at(fd_, 8, std::as_bytes(std::span(text)), path.string());
  } catch (...) {
    close(fd_);
    throw;
  }
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
  write_at(fd_, place.offset + byte_offset, bytes, path_.string());
  place.written += size;
}

void SafetensorsWriter::finish() {
  for (const auto& [tensor, place] : places_) {
    if (place.written != place.size) {
      fail("{}: tensor {}: {} of {} bytes were written", path_.string(), quote(tensor), place.written.load(),
           place.size);
    }
  }
  if (fsync(fd_) != 0) fail("{}: cannot write: {}", path_.string(), std::strerror(errno));
  const int fd = std::exchange(fd_, -1);
  if (close(fd) != 0) fail("{}: cannot write: {}", path_.string(), std::strerror(errno));
}

}  // namespace whittle
