#include "engine/kv_cache.h"

namespace whittle {
namespace {

int64_t element_bytes(KvFormat format) {
  switch (format) {
    case KvFormat::f32: return 4;
    case KvFormat::f16: return 2;
    case KvFormat::int8: return 1;
  }
  return 0;
}

// Key and value of one position of one head.
int64_t position_bytes(KvFormat format, int64_t head_dim) {
  return 2 * (head_dim * element_bytes(format) + (format == KvFormat::int8 ? 4 : 0));
}

int64_t heads(const ModelSpec& spec) { return spec.num_hidden_layers * spec.num_key_value_heads; }

}  // namespace

std::string_view name(KvFormat format) {
  switch (format) {
    case KvFormat::f32: return "f32";
    case KvFormat::f16: return "f16";
    case KvFormat::int8: return "int8";
  }
  return "";
}

KvCache::KvCache(const ModelSpec& spec, KvFormat format, int64_t context)
    : format_(format),
      context_(round_up(context, kv_block)),
      head_dim_(spec.head_dim),
      kv_heads_(spec.num_key_value_heads),
      keys_(heads(spec) * context_ * head_dim_ * element_bytes(format)),
      values_(keys_.size()),
      key_scales_(format == KvFormat::int8 ? heads(spec) * context_ : 0),
      value_scales_(key_scales_.size()) {}

KvHead KvCache::head(int64_t layer, int64_t kv_head) {
  const int64_t index = layer * kv_heads_ + kv_head;
  const int64_t bytes = context_ * head_dim_ * element_bytes(format_);
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

int64_t KvCache::head_bytes(int64_t positions) const {
  return positions * position_bytes(format_, head_dim_);
}

}  // namespace whittle
