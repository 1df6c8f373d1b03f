#pragma once
// The keys and values of one sequence: what a token must be able to look back on.

#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/model_spec.h"
#include "kernels/buffer.h"
#include "kernels/kernel_table.h"

namespace whittle {

// As on the command line and in reports (kernels/kv_format.h).
std::string_view name(KvFormat format);

class KvCache {
 public:
  // Room for `context` positions of every layer. Memory is resident only where positions have been written.
  KvCache(const ModelSpec& spec, KvFormat format, int64_t context);

  KvHead head(int64_t layer, int64_t kv_head);
  // Bytes that `positions` positions of one head take.
  int64_t head_bytes(int64_t positions) const;
  KvFormat format() const { return format_; }
  // Positions that fit.
  int64_t context() const { return context_; }
  // Bytes that `positions` positions take, in all layers.
  static int64_t bytes(const ModelSpec& spec, KvFormat format, int64_t positions);
  // What a step at `position` reads of them, its own entry included: less where layers have a window.
  static double bytes_read(const ModelSpec& spec, KvFormat format, int64_t position);

 private:
  KvFormat format_;
  int64_t context_;  // a multiple of kv_block
  int64_t head_dim_;
  std::vector<int64_t> first_head_;          // of each layer
  Buffer<std::byte> keys_, values_;          // [layer][kv_head][context × head_dim]
  Buffer<float> key_scales_, value_scales_;  // [layer][kv_head][context], of formats with scales only
};

}  // namespace whittle
