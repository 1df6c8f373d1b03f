#pragma once
// The weights of one decoder layer, packed: what a layer needs to run, with or without the rest of its model.

#include <array>
#include <vector>

#include "engine/linear.h"
#include "engine/weight_source.h"
#include "kernels/threads.h"

namespace whittle {

struct Norm {
  std::vector<float> weight, bias;  // bias: LayerNorm only
};

struct DecoderLayer {
  Norm attention_norm, mlp_norm;      // [hidden_size]; without what stands behind one it is empty
  std::vector<float> q_norm, k_norm;  // [head_dim], empty without qk_norm
  Linear q, k, v, o;
  Linear gate, up, down;  // gate: none in a plain MLP

  bool has_attention() const { return static_cast<bool>(o); }
  bool has_mlp() const { return static_cast<bool>(down); }
  std::array<const Linear*, 7> linears() const { return {&q, &k, &v, &o, &gate, &up, &down}; }
  // That its linears ask for; 0 where inputs stay floats. Each once.
  std::vector<int64_t> activation_group_sizes() const;
};

// Reads and packs with all threads, one tensor at a time, and lets go of each: the peak is one packed copy
// plus one tensor. Throws Error.
DecoderLayer load_layer(const WeightSource& source, int64_t layer, const Team& team);
Linear load_linear(const WeightSource& source, const Module& module, const Team& team);
Norm load_norm(const WeightSource& source, const Module& module);

}  // namespace whittle
