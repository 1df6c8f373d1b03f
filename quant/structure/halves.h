#pragma once
// Attention and MLP of a layer as layers of their own: one after the other they are the layer. And what else
// those share that exchange them.

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "engine/layer.h"
#include "quant/float_matrix.h"

namespace whittle {

// The roles of those linears that write to the residual stream.
inline constexpr std::array<Role, 2> half_ends = {Role::o, Role::down};

// Attention, MLP; empty where the layer has none.
using Halves = std::array<DecoderLayer, 2>;
inline Halves halves_of(DecoderLayer layer) {
  Halves halves;
  DecoderLayer& mlp = halves[1];
  mlp.mlp_norm = std::exchange(layer.mlp_norm, {});
  mlp.gate = std::exchange(layer.gate, {});
  mlp.up = std::exchange(layer.up, {});
  mlp.down = std::exchange(layer.down, {});
  halves[0] = std::move(layer);
  return halves;
}

// Of so many windows of calibration text, those that weights are fitted on: the last eighth judges.
inline size_t learned_windows(size_t windows) {
  return windows - (windows > 1 ? std::max<size_t>(1, windows / 8) : 0);
}

}  // namespace whittle
