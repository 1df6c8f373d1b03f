#pragma once
// A model in memory: immutable, and shared by any number of sessions.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <vector>

#include "engine/files/model_file.h"
#include "engine/linear.h"
#include "engine/model_spec.h"
#include "kernels/threads.h"

namespace whittle {

// What a decoder block holds, named as in the file.
struct DecoderLayer {
  std::vector<float> input_layernorm, post_attention_layernorm;  // [hidden_size]
  std::vector<float> q_norm, k_norm;                             // [head_dim], empty without qk_norm
  Linear q_proj, k_proj, v_proj, o_proj;
  Linear gate_proj, up_proj, down_proj;
};

class Model {
 public:
  // Reads and packs every weight, one tensor at a time with all threads, and lets go of each tensor's pages:
  // the peak is one packed copy plus one tensor. Throws Error.
  Model(const std::filesystem::path& folder, const Team& team);

  const ModelSpec& spec() const { return spec_; }
  const std::vector<DecoderLayer>& layers() const { return layers_; }
  const std::vector<float>& norm() const { return norm_; }
  const Linear& lm_head() const { return lm_head_; }
  // The embedding of a token: out[hidden_size]. `id` is within the vocabulary.
  void embed(int32_t id, float* out) const;

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

 private:
  Linear load_linear(const Team& team, const std::string& module, int64_t rows, int64_t cols, bool bias);

  ModelFile file_;
  ModelSpec spec_;
  WeightMatrix
      embedding_;  // borrowed from file_; without codes when the head's matrix serves as embedding too
  std::vector<DecoderLayer> layers_;
  std::vector<float> norm_;
  Linear lm_head_;
  std::vector<int64_t> group_sizes_;
  int64_t weight_bytes_ = 0, decode_bytes_ = 0, int8_macs_ = 0, macs_ = 0;
};

}  // namespace whittle
