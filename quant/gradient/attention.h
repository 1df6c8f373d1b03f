#pragma once
// Causal softmax attention over whole sequences, and its derivatives.

#include <cstdint>
#include <span>
#include <vector>

#include "engine/model_spec.h"
#include "quant/gradient/matrix.h"

namespace whittle {

struct AttentionShape {
  int64_t heads = 0, kv_heads = 0, head_dim = 0;
  int64_t window = 0;         // positions that a query sees, its own included; 0: all before it
  std::vector<float> slopes;  // [heads], ALiBi; or none
};
// Of a layer.
AttentionShape attention_shape(const ModelSpec& spec, int64_t layer);

// Queries and keys are rotated, queries scaled by 1/√head_dim. Rows are tokens; `sequences` are those of one
// sequence each, which sees nothing of the others.
struct AttentionInput {
  const Matrix &q, &k, &v;  // [tokens, heads · head_dim], keys and values [tokens, kv_heads · head_dim]
  std::span<const Range> sequences;
};

void attend(const Team& team, const AttentionShape& shape, const AttentionInput& input, Matrix& out);

// d_q, d_k and d_v become the derivatives. Scores are computed once more: what memory holds of them is, on
// each thread, those of 64 queries of one head.
void attend_backward(const Team& team, const AttentionShape& shape, const AttentionInput& input,
                     const Matrix& d_out, Matrix& d_q, Matrix& d_k, Matrix& d_v);

}  // namespace whittle
