#pragma once
// Logits from the residual stream, and how far two models' are from each other.

#include <cstdint>

#include "bench/drift/drift.h"
#include "engine/layer_runner.h"
#include "engine/weight_source.h"
#include "kernels/threads.h"
#include "quant/token_stream.h"

namespace whittle {

// What comes after the last layer: the final norm and the head, packed.
class OutputHead {
 public:
  // At most logit_rows (bench/drift.h) rows at a time. Team must outlive this.
  OutputHead(const WeightSource& source, const Team& team);
  int64_t max_rows() const { return max_rows_; }
  int64_t hidden_size() const { return spec_.hidden_size; }
  // The logits of these rows of the stream, [rows, hidden_size]; they stay until the next call.
  Logits run(const float* hidden, int64_t rows);

 private:
  const ModelSpec spec_;
  const int64_t max_rows_;
  const Team& team_;
  Norm norm_;
  Linear head_;
  LayerRunner runner_;
  LinearInput input_;
  int64_t stride_;
  Buffer<float> logits_;
};

// How far a model is from its baseline, both after the last layer on the same windows.
DriftReport compare(const Windows& windows, const TokenStream& baseline, OutputHead& baseline_head,
                    const TokenStream& model, OutputHead& model_head, const Team& team);

}  // namespace whittle
