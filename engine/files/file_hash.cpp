#include "engine/files/file_hash.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <new>

#include "engine/files/interrupts.h"
#include "engine/files/mapped_file.h"
#include "engine/files/model_file.h"

namespace whittle {
namespace {

std::string hex(XXH128_hash_t hash) { return fmt::format("{:016x}{:016x}", hash.high64, hash.low64); }

// Bytes that come in pieces.
class Stream {
 public:
  Stream() : state_(XXH3_createState()) {
    if (!state_) throw std::bad_alloc();
    XXH3_128bits_reset(state_.get());
  }
  void add(std::span<const std::byte> bytes) {
    XXH3_128bits_update(state_.get(), bytes.data(), bytes.size());
  }
  // Pages go back to the system as they are done with: a model may be larger than the memory.
  void add(const MappedFile& file) {
    constexpr size_t most = size_t{16} << 20;
    for (auto rest = file.bytes(); !rest.empty();) {
      check_interrupted();
      const auto piece = rest.first(std::min(rest.size(), most));
      add(piece);
      file.drop_pages(piece);
      rest = rest.subspan(piece.size());
    }
    file.check_unchanged();
  }
  std::string digest() const { return hex(XXH3_128bits_digest(state_.get())); }

 private:
  struct Free {
    void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
  };
  std::unique_ptr<XXH3_state_t, Free> state_;
};

}  // namespace

std::string hash_of(std::span<const std::byte> bytes) {
  return hex(XXH3_128bits(bytes.data(), bytes.size()));
}

std::string hash_of(std::string_view text) { return hash_of(std::as_bytes(std::span(text))); }

std::string hash_of_file(const std::filesystem::path& path) {
  Stream stream;
  stream.add(MappedFile(path));
  return stream.digest();
}

std::string hash_of_weights(const ModelFile& model) {
  Stream stream;
  for (const SafetensorsFile& file : model.files()) {
    const std::string name = file.path().filename().string();
    const auto size = static_cast<uint64_t>(file.disk_bytes());
    stream.add(std::as_bytes(std::span(name.c_str(), name.size() + 1)));  // its end, too
    stream.add(std::as_bytes(std::span(&size, 1)));
    stream.add(file.mapping());
  }
  return stream.digest();
}

}  // namespace whittle
