#include "quant/token_stream.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "engine/files/interrupts.h"
#include "kernels/error.h"

namespace whittle {
namespace {

// All of `bytes` at `offset`, by pread or pwrite.
template <class Call, class Bytes>
void transfer(Call call, int fd, Bytes* bytes, size_t size, int64_t offset) {
  while (size > 0) {
    const ssize_t done = call(fd, bytes, size, offset);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0)
      fail("the file of the tokens between two layers: {}", done < 0 ? std::strerror(errno) : "cut short");
    bytes += done;
    offset += done;
    size -= static_cast<size_t>(done);
  }
}

}  // namespace

RowStore::RowStore(int64_t rows, int64_t width, const std::filesystem::path& spill_folder) : width_(width) {
  if (spill_folder.empty()) {
    values_.resize(static_cast<size_t>(rows * width));
    return;
  }
  std::string name = spill_folder / "tokens.XXXXXX";
  fd_ = mkostemp(name.data(), O_CLOEXEC);
  if (fd_ < 0) fail("{}: cannot create: {}", name, std::strerror(errno));
  unlink(name.c_str());
  // Now, not in the middle of the work.
  const int error = posix_fallocate(fd_, 0, std::max<int64_t>(1, rows * width * 4));
  if (error != 0) {
    close(fd_);
    fail("{}: cannot hold {} tokens of {} values: {}", spill_folder.string(), rows, width,
         std::strerror(error));
  }
}

RowStore::~RowStore() {
  if (fd_ >= 0) close(fd_);
}

RowStore::RowStore(RowStore&& other) noexcept
    : width_(other.width_), values_(std::move(other.values_)), fd_(std::exchange(other.fd_, -1)) {}

RowStore& RowStore::operator=(RowStore&& other) noexcept {
  width_ = other.width_;
  values_.swap(other.values_);
  std::swap(fd_, other.fd_);
  return *this;
}

void RowStore::read(int64_t first, int64_t rows, float* out) const {
  if (fd_ < 0)
    std::copy_n(values_.data() + first * width_, rows * width_, out);
  else
    transfer(pread, fd_, reinterpret_cast<char*>(out), static_cast<size_t>(rows * width_) * sizeof(float),
             first * width_ * 4);
}

void RowStore::write(int64_t first, int64_t rows, const float* values) {
  if (fd_ < 0)
    std::copy_n(values, rows * width_, values_.data() + first * width_);
  else
    transfer(pwrite, fd_, reinterpret_cast<const char*>(values),
             static_cast<size_t>(rows * width_) * sizeof(float), first * width_ * 4);
}

Role observed_role(const Inventory& inventory, const Module& linear) {
  const Module& first = *inventory.readers_beside(linear).front();
  return first.role == Role::qkv ? Role::q : first.role;
}

std::filesystem::path spill_folder(const ModelSpec& spec, int64_t tokens, int64_t memory,
                                   const std::filesystem::path& folder) {
  constexpr int64_t share = 8;
  const auto bytes = static_cast<int64_t>(sizeof(float)) * tokens * spec.hidden_size;
  return bytes > memory / share ? folder : std::filesystem::path();
}

TokenStream::TokenStream(const ModelSpec& spec, const std::vector<std::vector<int32_t>>& windows,
                         const Team& team, const std::filesystem::path& spill_folder)
    : spec_(spec), windows_(windows), team_(team) {
  for (const std::vector<int32_t>& window : windows) {
    begin_.push_back(tokens_);
    tokens_ += std::ssize(window);
    longest_ = std::max<int64_t>(longest_, std::ssize(window));
  }
  hidden_ = RowStore(tokens_, spec.hidden_size, spill_folder);
}

void TokenStream::copy(const TokenStream& other) {
  std::vector<float> rows(static_cast<size_t>(longest_ * spec_.hidden_size));
  for (size_t w = 0; w < windows_.size(); ++w) {
    other.hidden_.read(begin_[w], std::ssize(windows_[w]), rows.data());
    hidden_.write(begin_[w], std::ssize(windows_[w]), rows.data());
  }
}

void TokenStream::embed(const WeightSource& source) {
  const Inventory& inventory = source.inventory();
  const auto width = static_cast<size_t>(spec_.hidden_size);
  const WeightMatrix embedding = source.matrix(inventory.embedding());
  WeightMatrix positions;
  if (const Module* table = inventory.find(Role::position_embedding)) positions = source.matrix(*table);
  Norm norm;
  if (const Module* module = inventory.find(Role::embedding_norm)) norm = load_norm(source, *module);
  const LayerRunner runner(spec_, {0}, team_, 1, 1);
  std::vector<float> rows, position(width);
  for (size_t w = 0; w < windows_.size(); ++w) {
    rows.resize(windows_[w].size() * width);
    float* row = rows.data();
    for (size_t i = 0; i < windows_[w].size(); ++i, row += width) {
      embedding.decode_row(windows_[w][i], row);
      if (positions.rows) {
        positions.decode_row(static_cast<int64_t>(i), position.data());
        for (size_t k = 0; k < width; ++k) row[k] += position[k];
      }
      if (norm.weight.empty()) continue;
      std::copy_n(row, width, position.begin());
      runner.apply(norm, position.data(), spec_.hidden_size, row);
    }
    hidden_.write(begin_[w], std::ssize(windows_[w]), rows.data());
  }
  source.release(embedding);
}

void TokenStream::run(LayerPass& pass, const DecoderLayer& layer, int64_t index, size_t window, bool keep,
                      bool observed) {
  check_interrupted();
  const int64_t rows = std::ssize(windows_[window]);
  std::vector<float> hidden(static_cast<size_t>(rows * spec_.hidden_size));
  read(window, 0, rows, hidden.data());
  pass.begin(windows_[window]);
  pass.run(layer, index, hidden.data(), observed);
  if (keep) hidden_.write(begin_[window], rows, hidden.data());
}

void TokenStream::pass(const DecoderLayer& layer, int64_t index, KvFormat kv_cache, bool keep,
                       const Seen& seen) {
  LayerPass pass(spec_, layer.activation_group_sizes(), team_, kv_cache, longest_);
  for (size_t w = 0; w < windows_.size(); ++w) {
    run(pass, layer, index, w, keep, static_cast<bool>(seen));
    for (const auto& [reader, copy] : pass.inputs()) seen(reader, copy.rows);
  }
}

void TokenStream::pass_beside(TokenStream& other, const DecoderLayer& layer, int64_t index,
                              const std::function<void(Role, FloatRows, FloatRows)>& seen) {
  LayerPass pass(spec_, layer.activation_group_sizes(), team_, KvFormat::f16, longest_);
  LayerPass::Inputs of_other;
  for (size_t w = 0; w < windows_.size(); ++w) {
    other.run(pass, layer, index, w, true, true);
    std::swap(of_other, pass.inputs());
    run(pass, layer, index, w, false, true);
    for (const auto& [reader, copy] : pass.inputs()) seen(reader, copy.rows, of_other[reader].rows);
  }
}

void TokenStream::read(size_t window, int64_t first, int64_t rows, float* out) const {
  hidden_.read(begin_[window] + first, rows, out);
}

}  // namespace whittle
