#pragma once
// One decoder layer over some rows, each a token of some sequence, and the scratch memory that this takes. A
// decoder runs its layers one after the other with it; a layer can also be run alone.

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <span>
#include <type_traits>
#include <vector>

#include "engine/kv_cache.h"
#include "engine/layer.h"
#include "engine/model_spec.h"
#include "engine/positions.h"
#include "engine/profile.h"
#include "kernels/threads.h"

namespace whittle {

// A token to append, and where. Rows of one cache stand side by side, in order of position.
struct DecoderRow {
  int32_t token = 0;
  KvCache* cache = nullptr;
  int64_t position = 0;  // everything before it is in the cache, or in the rows before this one
};

// Elements of a runner's buffers, whose rows R are padded to whole panels.
struct ScratchSizes {
  ScratchSizes(const ModelSpec& spec, int threads, int64_t rows, int64_t context);

  int64_t hidden_stride, q_stride, kv_stride;
  int64_t hidden, q, kv, up;  // [R, …]
  int64_t angles;             // [R, head_dim / 2]
  int64_t scores;             // [threads, max_queries, context]
};

// Sees what passes through the layers, called by one thread while the others wait. What is seen is gone when
// the call returns.
struct Observer {
  // The residual stream [rows, hidden_size] before layer `layer`; after the last: layer = num_hidden_layers.
  std::function<void(int32_t layer, FloatRows hidden)> hidden;
  // What a linear reads, [rows, its cols], before that is quantized. Linears that read the same are seen
  // once, as the first of them: q, o, gate (up in a plain MLP), down, or the head with layer −1.
  std::function<void(int32_t layer, Role reader, FloatRows input)> input;
};

class LayerRunner {
 public:
  // For layers of this spec whose linears have these activation group sizes; steps of at most `max_rows`
  // rows, whose caches have at most `max_context` positions.
  LayerRunner(const ModelSpec& spec, const std::vector<int64_t>& group_sizes, const Team& team,
              int64_t max_rows, int64_t max_context);

  // Bytes of scratch memory that such a runner takes once every row and position has been used.
  static int64_t scratch_bytes(const ModelSpec& spec, const std::vector<int64_t>& group_sizes, int threads,
                               int64_t max_rows, int64_t max_context);

  // Layer `index` alone: hidden [rows, stride] goes in and comes out, and keys and values of that layer go to
  // the rows' caches. The same bits as within a model. stride ≥ hidden_size. The layer may have less than the
  // spec says: fewer heads, a narrower MLP, or neither.
  void run_alone(const DecoderLayer& layer, int32_t index, std::span<const DecoderRow> rows, float* hidden,
                 int64_t stride);

  // Operations are recorded there, inputs shown there, from now on; nullptr: no longer.
  void watch(Profile* profile) { profile_ = profile; }
  void observe(const Observer* observer) { observer_ = observer; }
  const Observer* observer() const { return observer_; }

  const Team& team() const { return team_; }
  int64_t max_rows() const { return max_rows_; }
  int64_t max_context() const { return max_context_; }

  // The parts of a step: begin() by one thread, then the rest by every thread of the team.
  void begin(std::span<const DecoderRow> rows);
  // The residual stream of row m; to be filled, and `place` to be called, before the first layer.
  float* hidden(int64_t m) { return hidden_.data() + m * sizes_.hidden_stride; }
  void place(int64_t m);
  void run(const Worker& worker, const DecoderLayer& layer, int32_t index);
  // Rows from `first_row` on, normalised and quantized for `readers`; returned for them to read.
  const LinearInput& normalise(const Worker& worker, int32_t layer, const Norm& norm, int64_t first_row,
                               int64_t rows, std::initializer_list<const Linear*> readers);
  void show_hidden(const Worker& worker, int32_t layer);
  void show_input(const Worker& worker, int32_t layer, Role reader, const LinearInput& input, int64_t rows);
  // y = norm(x), n values.
  void apply(const Norm& norm, const float* x, int64_t n, float* y) const;
  // One operation: body(piece) for pieces of [0, total), as Worker::hand_out, timed if someone watches. body
  // returns the piece's Work or nothing.
  template <class Body>
  void each(const Worker& worker, Operation operation, int32_t layer, int64_t total, Body body);

 private:
  void attention_block(const Worker& worker, const DecoderLayer& layer, int32_t index);
  void rotate_and_store(const Worker& worker, const DecoderLayer& layer, int32_t index);
  void attend(const Worker& worker, const DecoderLayer& layer, int32_t index);
  void mlp_block(const Worker& worker, const DecoderLayer& layer, int32_t index);
  void quantize(LinearInput& input, Range rows, int64_t cols, std::initializer_list<const Linear*> readers);
  // hidden += input · Wᵀ, where `input` is quantized first.
  void add_to_hidden(const Worker& worker, Operation operation, int32_t layer, Role role,
                     const Linear& linear, LinearInput& input);
  void plan_attention();
  int64_t row_count() const { return static_cast<int64_t>(rows_.size()); }

  const ModelSpec spec_;
  const std::vector<int64_t> group_sizes_;
  const Team& team_;
  int64_t max_rows_, max_context_;
  Rope rope_;
  std::vector<float> slopes_;  // [num_attention_heads], ALiBi only
  Profile* profile_ = nullptr;
  const Observer* observer_ = nullptr;

  std::span<const DecoderRow> rows_;  // of this step
  // Queries of one key/value head that share a cache, and so the reading of its keys: query i is head i % g
  // of row i / g, where g query heads share a key/value head.
  struct QuerySpan {
    int64_t first = 0;
    int64_t count = 0;
  };
  std::vector<QuerySpan> query_spans_;

  // Scratch; R = max_rows.
  const ScratchSizes sizes_;
  Buffer<float> hidden_;           // [R, hidden_size]: the residual stream
  LinearInput input_;              // [R, hidden_size]: normalised, what q, k, v, gate, up and the head read
  Buffer<float> q_, k_, v_;        // [R, heads · head_dim]
  LinearInput attended_;           // [R, heads · head_dim]: what o reads
  LinearInput mlp_;                // [R, intermediate_size]: what down reads
  Buffer<float> up_;               // [R, intermediate_size], in a gated MLP
  Buffer<float> update_;           // [R, hidden_size]: what a block adds to the residual stream
  Buffer<float> cosines_, sines_;  // [R, head_dim / 2]
  Buffer<float> scores_;           // [threads, max_queries, context]
};

template <class Body>
void LayerRunner::each(const Worker& worker, Operation operation, int32_t layer, int64_t total, Body body) {
  if (!profile_) {
    worker.hand_out(total, body);
    return;
  }
  Event event{operation, layer, profile_->now_ns()};
  event.end_ns = event.begin_ns;
  worker.hand_out(total, [&](Range piece) {
    if constexpr (std::is_void_v<std::invoke_result_t<Body, Range>>)
      body(piece);
    else
      event.work += body(piece);
    event.end_ns = profile_->now_ns();
  });
  profile_->record(worker.index, event);
  profile_->record(worker.index, {Operation::wait, layer, event.end_ns, profile_->now_ns()});
}

}  // namespace whittle
