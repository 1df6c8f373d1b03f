#pragma once
// A whole model forward and backward, in float32, over windows of tokens. Weights come from a WeightSource a
// layer at a time; kept between the passes is the stream before each layer, so that memory is one layer with
// what it computes, and layers × tokens × hidden_size floats.

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "engine/weight_source.h"
#include "quant/gradient/block.h"

namespace whittle {

// Gets the logits [rows, vocab_size] of the tokens from `first_row` on (windows count on: the first token of
// the second window comes after the last of the first), and replaces them by dL/dlogits. Called from the
// first rows to the last.
using LogitsLoss = std::function<void(int64_t first_row, Matrix& logits)>;

class ModelGradient {
 public:
  // `source` must outlive this; what it gives may change from call to call of forward.
  ModelGradient(const WeightSource& source, const Team& team);

  // Each window is a causal sequence of its own, of ids of the vocabulary. Inputs of quantized linears are
  // int8 as at run time. Throws Error where learned positions do not reach as far as a window, and as
  // `source`.
  void forward(std::span<const std::vector<int32_t>> windows);
  // Of the windows of the last forward: [tokens.size(), vocab_size]. At most `rows_at_once` keep the logits
  // of a large vocabulary small.
  void logits(Range tokens, Matrix& out);
  int64_t rows_at_once() const;
  int64_t tokens() const { return ids_.size(); }

  // Of the loss over all tokens of the last forward, with the weights that it saw. Modules are handed on from
  // the head to the embedding as each is done; what is not `wanted` is not computed where that saves time. A
  // tied matrix comes once, at the end, and is the sum of what it is as head and as embedding.
  void backward(const LogitsLoss& loss, const Wanted& wanted, const GradientReceiver& receive);

 private:
  void embed();
  void check(std::span<const std::vector<int32_t>> windows) const;
  const Module* module(Role role) const { return source_.inventory().find(role); }
  void backward_head(const LogitsLoss& loss, const Wanted& wanted, const GradientReceiver& receive);
  void backward_embedding(const Wanted& wanted, const GradientReceiver& receive);

  const WeightSource& source_;
  const Team& team_;
  Block block_;
  BlockValues values_, gradient_;
  LinearValues head_;
  std::vector<int32_t> ids_;
  std::vector<Range> sequences_;
  Matrix embedded_;              // before an embedding norm
  std::vector<Matrix> streams_;  // [layers + 1] of [tokens, hidden_size]: before each layer, after the last
  Matrix final_;                 // normalised: what the head reads, before that is quantized
  Matrix read_;                  // as it is read
  Panels head_panels_;
  Matrix d_stream_;
  Matrix d_head_;  // of the head, until the embedding's part is there
};

}  // namespace whittle
