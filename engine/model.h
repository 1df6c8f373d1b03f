#pragma once
// A model in memory: immutable, and shared by any number of sessions.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "engine/layer.h"
#include "engine/model_spec.h"
#include "engine/weight_source.h"
#include "kernels/threads.h"

namespace whittle {

class Model {
 public:
  // Reads and packs every weight, one tensor at a time: the peak is one packed copy plus one tensor. Throws
  // Error. An embedding of its own stays in the source, which the model then keeps.
  Model(const std::filesystem::path& folder, const Team& team);
  Model(std::shared_ptr<const WeightSource> source, const Team& team);

  const ModelSpec& spec() const { return source_->spec(); }
  const WeightSource& source() const { return *source_; }
  const std::vector<DecoderLayer>& layers() const { return layers_; }
  const std::optional<Norm>& embedding_norm() const { return embedding_norm_; }
  const Norm& final_norm() const { return final_norm_; }
  const Linear& head() const { return head_; }
  // What goes into the first layer before any norm: out[hidden_size]. `id` is within the vocabulary,
  // `position` within a table of learned ones.
  void embed(int32_t id, int64_t position, float* out) const;

  // Every group size that a linear asks for; 0 when some inputs stay floats.
  const std::vector<int64_t>& activation_group_sizes() const { return group_sizes_; }

  // Memory that the packed weights, biases and norms take.
  int64_t weight_bytes() const { return weight_bytes_; }
  // Bytes of weights that one decode step reads: every linear and the head, once.
  int64_t decode_bytes() const { return decode_bytes_; }
  // Multiply-accumulates of linears whose inputs are int8, and of all linears, for one token without the
  // head.
  int64_t int8_macs() const { return int8_macs_; }
  int64_t macs() const { return macs_; }
  // How weights are packed of which many are zero, and why.
  const std::vector<PackingCount>& packings() const { return packings_; }

 private:
  void count(const Linear& linear);
  void count(const std::vector<float>& values);

  std::shared_ptr<const WeightSource> source_;
  WeightMatrix embedding_;        // without codes when the head's matrix serves as embedding too
  std::vector<float> positions_;  // learned ones, [max_position_embeddings, hidden_size], or none
  std::optional<Norm> embedding_norm_;
  std::vector<DecoderLayer> layers_;
  Norm final_norm_;
  Linear head_;
  std::vector<int64_t> group_sizes_;
  std::vector<PackingCount> packings_;
  int64_t weight_bytes_ = 0, decode_bytes_ = 0, int8_macs_ = 0, macs_ = 0;
};

}  // namespace whittle
