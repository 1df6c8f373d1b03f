#pragma once
// One conversation: its KV cache, and how far it has come.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/decoder.h"
#include "engine/kv_cache.h"
#include "engine/model.h"
#include "kernels/threads.h"

namespace whittle {

struct SessionOptions {
  int64_t context = 0;  // positions; 0: the model's max_position_embeddings
  KvFormat kv_cache = KvFormat::f16;
  int64_t prefill_chunk = 512;  // tokens that go through the layers together
};

class Session {
 public:
  Session(const Model& model, const Team& team, const SessionOptions& options = {});
  // Shares a decoder, whose scratch memory then serves one session at a time, or all of them in one step. Its
  // max_context must reach this session's context, which a table of learned positions bounds too (else
  // Error); prefill_chunk is the decoder's max_rows.
  Session(std::shared_ptr<Decoder> decoder, int64_t context, KvFormat kv_cache);

  // Appends tokens and returns the logits that follow the last of them. The logits are bit for bit the same
  // however the sequence is cut into calls, whatever the chunk and the number of threads. Throws Error when
  // the context is full or a token is not in the vocabulary; then nothing was appended.
  Logits forward(std::span<const int32_t> tokens);
  // The same, but returns the logits after every token; at most prefill_chunk tokens.
  Logits forward_all(std::span<const int32_t> tokens);
  // Batched decode: appends tokens[i] to sessions[i], all different and sharing one decoder, in one step that
  // reads the weights once; row i of the logits is what sessions[i].forward would have returned, bit for bit.
  // At most max_rows sessions. Throws Error as forward, and for sessions that do not go together.
  static Logits step(std::span<Session* const> sessions, std::span<const int32_t> tokens);

  int64_t position() const { return position_; }  // tokens so far
  int64_t context() const { return context_; }
  // Forgets everything from `position` on. Throws Error unless it is within what there is.
  void rewind(int64_t position);
  const std::shared_ptr<Decoder>& decoder() { return decoder_; }

 private:
  void check(std::span<const int32_t> tokens) const;
  Logits run_chunk(std::span<const int32_t> tokens, int64_t logit_rows);

  std::shared_ptr<Decoder> decoder_;
  const ModelSpec& spec_;
  int64_t context_;
  KvCache cache_;
  int64_t position_ = 0;
  std::vector<DecoderRow> rows_;  // of the step that runs
};

}  // namespace whittle
