#pragma once
// One step of the decoder: some rows, each a token of some sequence, go through all layers together. Holds
// the scratch memory that this takes.

#include <cstdint>
#include <initializer_list>
#include <span>
#include <vector>

#include "engine/kv_cache.h"
#include "engine/model.h"
#include "engine/profile.h"
#include "engine/rope.h"
#include "kernels/threads.h"

namespace whittle {

// A token to append, and where. Rows of one cache stand side by side, in order of position.
struct DecoderRow {
  int32_t token = 0;
  KvCache* cache = nullptr;
  int64_t position = 0;  // everything before it is in the cache, or in the rows before this one
};

// Logits of some rows: row i is values[i · stride .. i · stride + vocab_size).
struct Logits {
  const float* values = nullptr;
  int64_t rows = 0, stride = 0, vocab_size = 0;
  std::span<const float> row(int64_t i) const {
    return {values + i * stride, static_cast<size_t>(vocab_size)};
  }
};

class Decoder {
 public:
  // Steps of at most `max_rows` rows, whose caches have at most `max_context` positions.
  Decoder(const Model& model, const Team& team, int64_t max_rows, int64_t max_context);

  // Writes every row's keys and values to its cache; returns the logits after the last `logit_rows` rows,
  // which stay until the next step. A row's logits are the same bits whatever other rows go with it, and for
  // any number of threads.
  Logits step(std::span<const DecoderRow> rows, int64_t logit_rows);

  const Model& model() const { return model_; }
  int64_t max_rows() const { return max_rows_; }
  int64_t max_context() const { return max_context_; }
  // Steps are recorded there from now on; nullptr: no longer.
  void watch(Profile* profile) { profile_ = profile; }

 private:
  // The operations of one step, run by every thread of the team.
  void embed(const Worker& worker);
  void attention_block(const Worker& worker, int32_t index);
  void rotate_and_store(const Worker& worker, int32_t index);
  void attend(const Worker& worker, int32_t index);
  void mlp_block(const Worker& worker, int32_t index);
  void head(const Worker& worker, int64_t first_row, int64_t rows);
  // hidden → input_, normalised and quantized for `readers`.
  void normalise(const Worker& worker, int32_t layer, const std::vector<float>& weight, int64_t first_row,
                 int64_t rows, std::initializer_list<const Linear*> readers);
  void quantize(LinearInput& input, Range rows, int64_t cols, std::initializer_list<const Linear*> readers);
  // hidden += input · Wᵀ, where `input` is quantized first.
  void add_to_hidden(const Worker& worker, Operation operation, int32_t layer, const Linear& linear,
                     LinearInput& input);
  void plan_attention();
  int64_t row_count() const { return static_cast<int64_t>(rows_.size()); }
  // One operation: body(piece) for pieces of [0, total), as Worker::hand_out, timed if someone watches. body
  // returns the piece's Work or nothing.
  template <class Body>
  void each(const Worker& worker, Operation operation, int32_t layer, int64_t total, Body body);

  const Model& model_;
  const ModelSpec& spec_;
  const Team& team_;
  int64_t max_rows_, max_context_;
  Rope rope_;
  Profile* profile_ = nullptr;

  std::span<const DecoderRow> rows_;  // of this step
  // Queries of one key/value head that share a cache, and so the reading of its keys: query i is head i % g
  // of row i / g, where g query heads share a key/value head.
  struct QuerySpan {
    int64_t first = 0;
    int64_t count = 0;
  };
  std::vector<QuerySpan> query_spans_;

  // Scratch; R = max_rows, widths padded to whole panels.
  int64_t hidden_stride_, q_stride_, kv_stride_, vocab_stride_;
  Buffer<float> hidden_;           // [R, hidden_size]: the residual stream
  LinearInput input_;              // [R, hidden_size]: normalised, what q, k, v, gate, up and the head read
  Buffer<float> q_, k_, v_;        // [R, heads · head_dim]
  LinearInput attended_;           // [R, heads · head_dim]: what o reads
  LinearInput mlp_;                // [R, intermediate_size]: gate's outputs, then what down reads
  Buffer<float> up_;               // [R, intermediate_size]
  Buffer<float> update_;           // [R, hidden_size]: what a block adds to the residual stream
  Buffer<float> cosines_, sines_;  // [R, head_dim / 2]
  Buffer<float> scores_;           // [threads, max_queries, context]
  Buffer<float> logits_;           // [rows asked for, vocab_size]
};

}  // namespace whittle
