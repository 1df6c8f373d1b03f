#pragma once
// One decoder layer forward and backward, in float32, over whole sequences. What the forward pass computed is
// computed once more by the backward pass (Chen et al., 1604.06174), so that nothing but a layer's input
// needs to be kept.

#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "engine/layer.h"
#include "engine/positions.h"
#include "engine/weight_source.h"
#include "quant/gradient/attention.h"
#include "quant/gradient/matrix.h"

namespace whittle {

// y = x · weightᵀ + bias, and the derivatives of a loss with respect to both, which have the same shapes.
struct LinearValues {
  Matrix weight;            // [outputs, inputs]
  std::vector<float> bias;  // [outputs] or none
  // Inputs are rounded to int8 in groups of so many before they are read, as at run time; 0: floats.
  int64_t input_group_size = 0;
  explicit operator bool() const { return weight.rows() != 0; }
};

// A layer's parameters, or the derivatives with respect to them. Absent ones are empty.
struct BlockValues {
  Norm attention_norm, mlp_norm, q_norm, k_norm;
  LinearValues q, k, v, o, gate, up, down;
};

// As Linear would have it: quantized matrices as the values that their codes stand for, with inputs in int8.
// q, k and v of a fused projection are taken apart. Throws Error.
LinearValues load_values(const WeightSource& source, const Module& module, const Team& team);
void load_values(const WeightSource& source, int64_t layer, const Team& team, BlockValues& values);

// A module's derivatives: dL/dweight [rows, cols] of the module, [1, cols] of a norm; dL/dbias or none.
struct ModuleGradient {
  const Module& module;
  const Matrix& weight;
  std::span<const float> bias;
};
using Wanted = std::function<bool(const Module&)>;
using GradientReceiver = std::function<void(const ModuleGradient&)>;
void hand_on(const Module& module, const Norm& gradient, const GradientReceiver& receive);
// Hands a layer's derivatives on, module by module; those of a fused projection as one.
void hand_on(const WeightSource& source, int64_t layer, const BlockValues& gradient, const Wanted& wanted,
             const GradientReceiver& receive);

class Block {
 public:
  Block(const ModelSpec& spec, const Team& team);

  // The stream x [tokens, hidden_size] through layer `layer`, in place. Rows of a sequence are its positions
  // from 0 on.
  void forward(const BlockValues& values, int64_t layer, std::span<const Range> sequences, Matrix& x);
  // x: what went in. d_x: dL/d(what came out), becomes dL/dx. `gradient` becomes dL/dvalues: linears for
  // which `wanted` is false are left out.
  void backward(const BlockValues& values, int64_t layer, std::span<const Range> sequences, const Matrix& x,
                const std::function<bool(Role)>& wanted, Matrix& d_x, BlockValues& gradient);

 private:
  // Rows that linears read, as floats and as each group size has them.
  struct Reads {
    Matrix floats;
    std::vector<std::pair<int64_t, Matrix>> rounded;
    size_t used = 0;
  };
  const Matrix& as_read(Reads& reads, int64_t group_size);
  void multiply(const LinearValues& linear, Reads& reads, Matrix& y);
  // d_x (+)= dL/d(input), gradient = dL/d(linear).
  void multiply_backward(const LinearValues& linear, Reads& reads, const Matrix& d_y, bool wanted, bool more,
                         Matrix& d_x, LinearValues& gradient);
  void run(const BlockValues& values, int64_t layer, std::span<const Range> sequences, const Matrix& x);
  void run_attention(const BlockValues& values, int64_t layer, std::span<const Range> sequences,
                     const Matrix& x);
  void mlp_backward(const BlockValues& values, const std::function<bool(Role)>& wanted, Matrix& d_x,
                    BlockValues& gradient);
  void attention_backward(const BlockValues& values, int64_t layer, std::span<const Range> sequences,
                          const Matrix& x, const std::function<bool(Role)>& wanted, Matrix& d_x,
                          BlockValues& gradient);
  void place(std::span<const Range> sequences, int64_t rows);
  void rotate(const Norm& norm, const Matrix& heads, float scale, Matrix& out);
  void rotate_backward(const Norm& norm, const Matrix& heads, float scale, Matrix& d_heads, Norm& d_norm);

  const ModelSpec spec_;
  const Team& team_;
  const Rope rope_;
  Matrix cosines_, sines_;  // [tokens, head_dim / 2]
  Reads attention_in_, attended_, mlp_in_, inner_;
  Matrix q_, k_, v_;            // as the linears give them
  Matrix turned_q_, turned_k_;  // normalised, rotated; queries scaled
  Matrix middle_;               // the stream between attention and MLP
  Matrix gate_, up_;
  Matrix update_, d_update_, turned_;  // scratch
  Matrix d_q_, d_k_, d_v_, d_gate_, d_up_;
  Panels panels_;
};

}  // namespace whittle
