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

// Pages go back to the system as they are done with: a model may be larger than the memory.
void add_file(ContentHash& hash, const MappedFile& file) {
  constexpr size_t most = size_t{16} << 20;
  for (auto rest = file.bytes(); !rest.empty();) {
    check_interrupted();
    const auto piece = rest.first(std::min(rest.size(), most));
    hash.add(piece);
    file.drop_pages(piece);
    rest = rest.subspan(piece.size());
  }
  file.check_unchanged();
}

}  // namespace

struct ContentHash::State {
  struct Free {
    void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
  };
  std::unique_ptr<XXH3_state_t, Free> xxh3{XXH3_createState()};
};

ContentHash::ContentHash() : state_(std::make_unique<State>()) {
  if (!state_->xxh3) throw std::bad_alloc();
  XXH3_128bits_reset(state_->xxh3.get());
}
ContentHash::~ContentHash() = default;

void ContentHash::add(std::span<const std::byte> bytes) {
  XXH3_128bits_update(state_->xxh3.get(), bytes.data(), bytes.size());
}

std::string ContentHash::hex() const { return whittle::hex(XXH3_128bits_digest(state_->xxh3.get())); }

std::string hash_of(std::span<const std::byte> bytes) {
  return hex(XXH3_128bits(bytes.data(), bytes.size()));
}

std::string hash_of(std::string_view text) { return hash_of(std::as_bytes(std::span(text))); }

std::string hash_of_file(const std::filesystem::path& path) {
  ContentHash hash;
  add_file(hash, MappedFile(path));
  return hash.hex();
}

std::string hash_of_weights(const ModelFile& model) {
  ContentHash hash;
  for (const SafetensorsFile& file : model.files()) {
    const std::string name = file.path().filename().string();
    const auto size = static_cast<uint64_t>(file.disk_bytes());
    hash.add(std::as_bytes(std::span(name.c_str(), name.size() + 1)));  // its end, too
    hash.add(std::as_bytes(std::span(&size, 1)));
    add_file(hash, file.mapping());
  }
  return hash.hex();
}

}  // namespace whittle
