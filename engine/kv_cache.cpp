#include "engine/kv_cache.h"

#include <algorithm>

#include "kernels/error.h"

namespace whittle {
namespace {

// Key and value of one position of one head.
int64_t position_bytes(KvFormat format, int64_t head_dim) {
  const auto scale = static_cast<int64_t>(info(format).scaled ? sizeof(float) : 0);
  return 2 * (head_dim * info(format).element_bytes + scale);
}

int64_t heads(const ModelSpec& spec) {
  if (spec.layers.empty()) return spec.num_hidden_layers * spec.num_key_value_heads;
  int64_t count = 0;
  for (const LayerShape& layer : spec.layers) count += layer.num_key_value_heads;
  return count;
}

// Elements of the keys of all heads. Throws Error where their bytes are more than numbers can count.
int64_t key_elements(const ModelSpec& spec, int64_t context) {
  int64_t elements = 0;
  constexpr int64_t most_bytes = 16;  // of an element's key and value, with room for their scales
  if (__builtin_mul_overflow(heads(spec) * spec.head_dim * most_bytes, context, &elements))
    fail("keys and values of {} positions do not fit into memory", context);
  return elements / most_bytes;
}

}  // namespace

std::string_view name(KvFormat format) { return info(format).name; }

KvCache::KvCache(const ModelSpec& spec, KvFormat format, int64_t context)
    : format_(format),
      context_(round_up(context, kv_block)),
      head_dim_(spec.head_dim),
      keys_(key_elements(spec, context_) * info(format).element_bytes),
      values_(keys_.size()),
      key_scales_(info(format).scaled ? heads(spec) * context_ : 0),
      value_scales_(key_scales_.size()) {
  int64_t first = 0;
  for (int64_t layer = 0; layer < spec.num_hidden_layers; ++layer) {
    first_head_.push_back(first);
    first += spec.layer(layer).num_key_value_heads;
  }
}

KvHead KvCache::head(int64_t layer, int64_t kv_head) {
  const int64_t index = first_head_[static_cast<size_t>(layer)] + kv_head;
  const int64_t bytes = context_ * head_dim_ * info(format_).element_bytes;
  const int64_t scales = key_scales_.size() ? index * context_ : 0;
  return {format_,
          head_dim_,
          keys_.data() + index * bytes,
          values_.data() + index * bytes,
          key_scales_.data() + scales,
          value_scales_.data() + scales};
}

int64_t KvCache::bytes(const ModelSpec& spec, KvFormat format, int64_t positions) {
  return heads(spec) * positions * position_bytes(format, spec.head_dim);
}

double KvCache::bytes_read(const ModelSpec& spec, KvFormat format, int64_t position) {
  const int64_t positions = position + 1;
  const int64_t seen = spec.sliding_window ? std::min(positions, spec.sliding_window) : positions;
  const double full = std::min(
      1.0, static_cast<double>(spec.max_window_layers) / static_cast<double>(spec.num_hidden_layers));
  return full * static_cast<double>(bytes(spec, format, positions)) +
         (1 - full) * static_cast<double>(bytes(spec, format, seen));
}

int64_t KvCache::head_bytes(int64_t positions) const {
  return positions * position_bytes(format_, head_dim_);
}

}  // namespace whittle
