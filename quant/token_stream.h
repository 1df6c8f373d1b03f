#pragma once
// The residual stream of a text's tokens, taken through a model layer by layer: no more than one layer is in
// memory at a time, whatever the model's size.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <vector>

#include "bench/drift/layer_pass.h"
#include "engine/decoder.h"
#include "engine/layer_runner.h"
#include "engine/weight_source.h"
#include "kernels/threads.h"

namespace whittle {

// Rows of floats, in memory or in a file without a name.
class RowStore {
 public:
  RowStore() = default;
  // spill_folder: where the file lies; empty: in memory. Throws Error.
  RowStore(int64_t rows, int64_t width, const std::filesystem::path& spill_folder);
  ~RowStore();
  RowStore(RowStore&& other) noexcept;
  RowStore& operator=(RowStore&& other) noexcept;

  int64_t width() const { return width_; }
  void read(int64_t first, int64_t rows, float* out) const;
  void write(int64_t first, int64_t rows, const float* values);

 private:
  int64_t width_ = 0;
  std::vector<float> values_;
  int fd_ = -1;
};

// The folder where a stream of so many tokens should lie, or none: it may take an eighth of `memory` bytes.
std::filesystem::path spill_folder(const ModelSpec& spec, int64_t tokens, int64_t memory,
                                   const std::filesystem::path& folder);

// The role by which what a linear reads is seen: that of the first of its layer that reads the same.
Role observed_role(const Inventory& inventory, const Module& linear);

class TokenStream {
 public:
  using Seen = std::function<void(Role, FloatRows)>;

  // Windows, of one token at least each, and team must outlive this. spill_folder: as of RowStore.
  TokenStream(const ModelSpec& spec, const std::vector<std::vector<int32_t>>& windows, const Team& team,
              const std::filesystem::path& spill_folder);

  int64_t tokens() const { return tokens_; }

  // Where another stream of the same windows is.
  void copy(const TokenStream& other);
  // Before the first layer: the embeddings of `source`.
  void embed(const WeightSource& source);
  // Takes every window through a layer, with keys and values in `kv_cache`. What comes out becomes the stream
  // if `keep`. seen: what linears read, by the role that Observer gives it.
  void pass(const DecoderLayer& layer, int64_t index, KvFormat kv_cache, bool keep, const Seen& seen = {});
  // The same without keeping what comes out, beside the stream of another model on the same windows, which is
  // taken on. seen: what linears read of both.
  void pass_beside(TokenStream& other, const DecoderLayer& layer, int64_t index,
                   const std::function<void(Role, FloatRows, FloatRows)>& seen);
  // The stream of a window's tokens [first, first + rows): [rows, hidden_size].
  void read(size_t window, int64_t first, int64_t rows, float* out) const;

 private:
  void run(LayerPass& pass, const DecoderLayer& layer, int64_t index, size_t window, bool keep,
           bool observed);

  const ModelSpec spec_;
  const std::vector<std::vector<int32_t>>& windows_;
  const Team& team_;
  int64_t tokens_ = 0, longest_ = 0;
  std::vector<int64_t> begin_;  // of each window, in tokens
  RowStore hidden_;             // [tokens, hidden_size]
};

}  // namespace whittle
