#include "bench/estimate/stored_model.h"

#include <algorithm>

#include "engine/files/compressed_tensors.h"
#include "engine/linear.h"

namespace whittle {
namespace {

// Scales of groups are few bits themselves, those of rows are not: what `whittle quantize` writes.
DType scale_type(const QuantizationScheme& scheme) {
  return scheme.strategy == ScaleStrategy::group ? DType::F16 : DType::F32;
}

ModelSpec spec_stored(ModelSpec spec, const StorageChoice& choice) {
  spec.tie_word_embeddings = spec.tie_word_embeddings &&
                             choice.embedding.has_value() == choice.head.has_value() &&
                             (!choice.head || choice.head->format == choice.embedding->format);
  return spec;
}

}  // namespace

StoredModel::StoredModel(const ModelSpec& spec, const StorageChoice& choice)
    : spec_(spec_stored(spec, choice)), choice_(choice), inventory_(spec_) {
  for (const Module& module : inventory_.modules()) {
    weight_bytes_ += kept_bytes(module);
    if (!multiplied(module)) continue;
    for (const PackedLayout& layout : packed(module)) {
      decode_bytes_ += layout.bytes();
      if (&module != &inventory_.head()) {
        macs_ += layout.rows * layout.cols;
        if (layout.quantized()) int8_macs_ += layout.rows * layout.cols;
      }
      const int64_t group = activation_group_size(layout, asked_activation_group(module));
      if (std::ranges::find(group_sizes_, group) == group_sizes_.end()) group_sizes_.push_back(group);
    }
  }
}

bool StoredModel::multiplied(const Module& module) const {
  return module.kind() == ModuleKind::linear || &module == &inventory_.head();
}

const QuantizationScheme* StoredModel::scheme(const Module& module) const {
  const auto some = [](const std::optional<QuantizationScheme>& scheme) {
    return scheme ? &*scheme : nullptr;
  };
  if (&module == &inventory_.head()) return some(choice_.head);
  if (module.role == Role::embedding) return some(choice_.embedding);
  return module.kind() == ModuleKind::linear ? some(choice_.linears) : nullptr;
}

std::vector<PackedLayout> StoredModel::packed(const Module& module) const {
  const QuantizationScheme* const scheme = this->scheme(module);
  const auto layout = [&](int64_t rows) {
    if (!scheme) return packed_layout(choice_.floats, rows, module.cols, 0, false, false);
    const int64_t group = scheme->strategy == ScaleStrategy::group ? scheme->group_size : module.cols;
    return packed_layout(scheme->format, rows, module.cols, group, scale_type(*scheme) == DType::F16,
                         !scheme->symmetric);
  };
  if (module.role != Role::qkv) return {layout(module.rows)};
  const int64_t kv = spec_.kv_size(module.layer);
  return {layout(spec_.q_size(module.layer)), layout(kv), layout(kv)};
}

int64_t StoredModel::asked_activation_group(const Module& module) const {
  const QuantizationScheme* const scheme = this->scheme(module);
  return scheme ? scheme->activation_group_size : 0;
}

int64_t StoredModel::file_bytes(const Module& module) const {
  const QuantizationScheme* const scheme = this->scheme(module);
  if (!scheme) return module.rows * row_bytes(choice_.floats, module.cols);
  int64_t bytes = 0;
  for (const TensorInfo& part :
       quantized_tensors(module.name, *scheme, module.rows, module.cols, scale_type(*scheme)))
    bytes += tensor_bytes(part.dtype, part.shape).value_or(0);
  return bytes;
}

int64_t StoredModel::file_bias_bytes(const Module& module) const {
  return module.bias ? row_bytes(choice_.floats, module.matrix() ? module.rows : module.cols) : 0;
}

int64_t StoredModel::file_bytes() const {
  int64_t bytes = 0;
  for (const Module& module : inventory_.modules()) bytes += file_bytes(module) + file_bias_bytes(module);
  return bytes;
}

int64_t StoredModel::kept_bytes(const Module& module) const {
  constexpr auto one = static_cast<int64_t>(sizeof(float));
  if (multiplied(module)) {
    int64_t bytes = 0;
    for (const PackedLayout& layout : packed(module))
      bytes += layout.bytes() + (module.bias ? bias_bytes(layout) : 0);
    return bytes;
  }
  if (module.role == Role::embedding) return 0;  // its pages stay with the file
  return module.rows * module.cols * one + (module.bias ? module.cols * one : 0);
}

}  // namespace whittle
