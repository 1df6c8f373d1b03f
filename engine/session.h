#pragma once
// One conversation: its KV cache, and the scratch memory of a decoder step.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/kv_cache.h"
#include "engine/model.h"
#include "engine/rope.h"
#include "kernels/threads.h"

namespace whittle {

struct SessionOptions {
  int64_t context = 0;          // positions; 0: the model's max_position_embeddings
  KvFormat kv_cache = KvFormat::f16;
  int64_t prefill_chunk = 512;  // tokens that go through the layers together
};

// Logits of some rows: row i is values[i · stride .. i · stride + vocab_size).
struct Logits {
  const float* values = nullptr;
  int64_t rows = 0, stride = 0, vocab_size = 0;
  std::span<const float> row(int64_t i) const {
    return {values + i * stride, static_cast<size_t>(vocab_size)};
  }
};

class Session {
 public:
  Session(const Model& model, const Team& team, const SessionOptions& options = {});

  // Appends tokens and returns the logits that follow the last of them. The logits are bit for bit the same however the
  // sequence is cut into calls, whatever the chunk and the number of threads. Throws Error when the context is full or a
  // token is not in the vocabulary; then nothing was appended.
  Logits forward(std::span<const int32_t> tokens);
  // The same, but returns the logits after every token; at most prefill_chunk tokens.
  Logits forward_all(std::span<const int32_t> tokens);

  int64_t position() const { return position_; }  // tokens so far
  int64_t context() const { return context_; }
  // Forgets everything from `position` on.
  void rewind(int64_t position);

 private:
  // The steps of one chunk, run by every thread of the team.
  void embed(const Worker& worker, std::span<const int32_t> tokens);
  void attention_block(const Worker& worker, const DecoderLayer& layer, int64_t index);
  void rotate_and_store(const Worker& worker, const DecoderLayer& layer, int64_t index);
  void attend(const Worker& worker, int64_t layer);
  void mlp_block(const Worker& worker, const DecoderLayer& layer);
  void head(const Worker& worker, int64_t first_row, int64_t rows);
  // hidden → input_, normalised and quantized for `reader`s.
  void normalise(const Worker& worker, const std::vector<float>& weight, int64_t first_row, int64_t rows,
                 std::initializer_list<const Linear*> readers);
  void quantize(const Worker& worker, LinearInput& input, int64_t rows, int64_t cols,
                std::initializer_list<const Linear*> readers);
  void add_to_hidden(const Worker& worker, const Linear& linear, const LinearInput& input);
  void check(std::span<const int32_t> tokens) const;
  void run_chunk(std::span<const int32_t> tokens, int64_t logit_rows);

  const Model& model_;
  const ModelSpec& spec_;
  const Team& team_;
  int64_t context_;
  int64_t chunk_;
  KvCache cache_;
  Rope rope_;
  int64_t position_ = 0;

  // Scratch of a chunk; R = rows (tokens) of the chunk, widths padded to whole panels.
  int64_t rows_ = 0;
  int64_t hidden_stride_, q_stride_, kv_stride_, vocab_stride_;
  Buffer<float> hidden_;            // [R, hidden_size]: the residual stream
  LinearInput input_;               // [R, hidden_size]: normalised, what q, k, v, gate, up and the head read
  Buffer<float> q_, k_, v_;         // [R, heads · head_dim]
  LinearInput attended_;            // [R, heads · head_dim]: what o reads
  LinearInput mlp_;                 // [R, intermediate_size]: gate's outputs, then what down reads
  Buffer<float> up_;                // [R, intermediate_size]
  Buffer<float> update_;            // [R, hidden_size]: what a block adds to the residual stream
  Buffer<float> cosines_, sines_;   // [R, head_dim / 2]
  Buffer<float> scores_;            // [threads, max_query_tile, context]
  Buffer<float> logits_;            // [rows asked for, vocab_size]
};

}  // namespace whittle
