#include "engine/model.h"

#include <algorithm>

namespace whittle {
namespace {

std::vector<float> decode(const WeightSource& source, const Module& module) {
  const WeightMatrix matrix = source.matrix(module);
  std::vector<float> values(static_cast<size_t>(matrix.rows * matrix.cols));
  for (int64_t row = 0; row < matrix.rows; ++row) matrix.decode_row(row, values.data() + row * matrix.cols);
  source.release(matrix);
  return values;
}

}  // namespace

Model::Model(const std::filesystem::path& folder, const Team& team)
    : Model(std::make_shared<FolderWeights>(folder, &team), team) {}

Model::Model(std::shared_ptr<const WeightSource> source, const Team& team) : source_(std::move(source)) {
  const Inventory& inventory = source_->inventory();
  // The largest tensor comes first, while nothing else is in memory beside it and its packed copy.
  head_ = load_linear(*source_, inventory.head(), team);
  count(head_);
  for (int64_t i = 0; i < spec().num_hidden_layers; ++i) {
    const DecoderLayer& layer = layers_.emplace_back(load_layer(*source_, i, team));
    for (const Linear* linear : layer.linears()) {
      if (!*linear) continue;
      count(*linear);
      macs_ += linear->macs();
      if (linear->quantized()) int8_macs_ += linear->macs();
    }
    for (const std::vector<float>* values :
         {&layer.attention_norm.weight, &layer.attention_norm.bias, &layer.mlp_norm.weight,
          &layer.mlp_norm.bias, &layer.q_norm, &layer.k_norm})
      count(*values);
  }
  final_norm_ = load_norm(*source_, *inventory.find(Role::final_norm));
  if (const Module* norm = inventory.find(Role::embedding_norm)) embedding_norm_ = load_norm(*source_, *norm);
  if (const Module* table = inventory.find(Role::position_embedding)) positions_ = decode(*source_, *table);
  count(positions_);
  count(final_norm_.weight);
  count(final_norm_.bias);
  if (embedding_norm_) {
    count(embedding_norm_->weight);
    count(embedding_norm_->bias);
  }
  if (!inventory.tied()) embedding_ = source_->matrix(inventory.embedding());
  if (embedding_.owned) weight_bytes_ += static_cast<int64_t>(embedding_.codes.size());
  source_->check_unchanged();
}

void Model::count(const Linear& linear) {
  if (std::ranges::find(group_sizes_, linear.activation_group_size()) == group_sizes_.end())
    group_sizes_.push_back(linear.activation_group_size());
  count_packing(packings_, linear.packing_choice());
  weight_bytes_ += linear.bytes();
  decode_bytes_ += linear.weight_bytes();
}

void Model::count(const std::vector<float>& values) {
  weight_bytes_ += static_cast<int64_t>(values.size() * sizeof(float));
}

void Model::embed(int32_t id, int64_t position, float* out) const {
  if (embedding_.codes.empty()) {
    head_.decode_row(id, out);
  } else {
    embedding_.decode_row(id, out);
    // The system maps far more than the row around it: left there, the whole embedding would be resident
    // after a prompt.
    source_->release(embedding_);
  }
  for (int64_t i = 0; !positions_.empty() && i < spec().hidden_size; ++i)
    out[i] += positions_[static_cast<size_t>(position * spec().hidden_size + i)];
}

}  // namespace whittle
