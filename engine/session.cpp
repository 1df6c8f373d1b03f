#include "engine/session.h"

#include <algorithm>
#include <cmath>

namespace whittle {
namespace {

// The share of one thread in the panels of several weights laid end to end: calls body(weight index, its panels).
template <class Body>
void share_panels(const Worker& worker, std::initializer_list<const Linear*> linears, Body body) {
  int64_t total = 0;
  for (const Linear* linear : linears) total += linear->weight.panel_count();
  const Range mine = worker.share(total);
  int64_t first = 0;
  size_t index = 0;
  for (const Linear* linear : linears) {
    const int64_t count = linear->weight.panel_count();
    const Range panels = {std::clamp<int64_t>(mine.begin - first, 0, count), std::clamp<int64_t>(mine.end - first, 0, count)};
    if (panels.size() > 0) body(index, panels);
    first += count;
    ++index;
  }
}

}  // namespace

Session::Session(const Model& model, const Team& team, const SessionOptions& options)
    : model_(model),
      spec_(model.spec()),
      team_(team),
      context_(options.context ? options.context : spec_.max_position_embeddings),
      chunk_(std::min(std::max<int64_t>(options.prefill_chunk, 1), context_)),
      cache_(spec_, options.kv_cache, context_),
      rope_(spec_),
      hidden_stride_(round_up(spec_.hidden_size, panel_rows)),
      q_stride_(round_up(spec_.q_size(), panel_rows)),
      kv_stride_(round_up(spec_.kv_size(), panel_rows)),
      vocab_stride_(round_up(spec_.vocab_size, panel_rows)),
      hidden_(chunk_ * hidden_stride_),
      input_(chunk_, spec_.hidden_size, model.activation_group_sizes()),
      q_(chunk_ * q_stride_),
      k_(chunk_ * kv_stride_),
      v_(chunk_ * kv_stride_),
      attended_(chunk_, spec_.q_size(), model.activation_group_sizes()),
      mlp_(chunk_, spec_.intermediate_size, model.activation_group_sizes()),
      up_(chunk_ * mlp_.stride()),
      update_(chunk_ * hidden_stride_),
      cosines_(chunk_ * spec_.head_dim / 2),
      sines_(chunk_ * spec_.head_dim / 2),
      scores_(team.size() * max_query_tile * cache_.context()) {}

void Session::check(std::span<const int32_t> tokens) const {
  const auto count = static_cast<int64_t>(tokens.size());
  if (count > context_ - position_)
    fail("the context is full: {} tokens and {} more do not fit into {} positions", position_, count, context_);
  for (const int32_t token : tokens)
    if (token < 0 || token >= spec_.vocab_size)
      fail("token id {} is outside the model's vocabulary of {}", token, spec_.vocab_size);
}

Logits Session::forward(std::span<const int32_t> tokens) {
  check(tokens);
  const auto count = static_cast<int64_t>(tokens.size());
  for (int64_t done = 0; done < count; done += chunk_) {
    const int64_t rows = std::min(chunk_, count - done);
    run_chunk(tokens.subspan(static_cast<size_t>(done), static_cast<size_t>(rows)), done + rows == count ? 1 : 0);
  }
  return {logits_.data(), count ? 1 : 0, vocab_stride_, spec_.vocab_size};
}

Logits Session::forward_all(std::span<const int32_t> tokens) {
  check(tokens);
  const auto rows = static_cast<int64_t>(tokens.size());
  if (rows > chunk_) fail("{} tokens do not fit into one chunk of {}", rows, chunk_);
  run_chunk(tokens, rows);
  return {logits_.data(), rows, vocab_stride_, spec_.vocab_size};
}

void Session::rewind(int64_t position) { position_ = std::min(position, position_); }

void Session::run_chunk(std::span<const int32_t> tokens, int64_t logit_rows) {
  rows_ = static_cast<int64_t>(tokens.size());
  if (logits_.size() < logit_rows * vocab_stride_) logits_ = Buffer<float>(logit_rows * vocab_stride_);
  team_.run([&](const Worker& worker) {
    embed(worker, tokens);
    for (int64_t i = 0; i < spec_.num_hidden_layers; ++i) {
      const DecoderLayer& layer = model_.layers()[static_cast<size_t>(i)];
      attention_block(worker, layer, i);
      mlp_block(worker, layer);
    }
    if (logit_rows) head(worker, rows_ - logit_rows, logit_rows);
  });
  position_ += rows_;
}

void Session::embed(const Worker& worker, std::span<const int32_t> tokens) {
  const Range mine = worker.share(rows_);
  const int64_t half = spec_.head_dim / 2;
  for (int64_t m = mine.begin; m < mine.end; ++m) {
    model_.embed(tokens[static_cast<size_t>(m)], hidden_.data() + m * hidden_stride_);
    rope_.angles(position_ + m, cosines_.data() + m * half, sines_.data() + m * half);
  }
  worker.barrier();
}

void Session::quantize(const Worker& worker, LinearInput& input, int64_t rows, int64_t cols,
                       std::initializer_list<const Linear*> readers) {
  const Range mine = worker.share(rows);
  for (const int64_t group_size : model_.activation_group_sizes()) {
    const bool wanted = std::any_of(readers.begin(), readers.end(), [&](const Linear* reader) {
      return reader->activation_group_size == group_size;
    });
    for (int64_t m = mine.begin; wanted && m < mine.end; ++m) input.quantize(m, cols, group_size);
  }
  worker.barrier();
}

void Session::normalise(const Worker& worker, const std::vector<float>& weight, int64_t first_row, int64_t rows,
                        std::initializer_list<const Linear*> readers) {
  const Range mine = worker.share(rows);
  for (int64_t m = mine.begin; m < mine.end; ++m)
    kernels().rms_norm(hidden_.data() + (first_row + m) * hidden_stride_, weight.data(), spec_.hidden_size,
                       spec_.rms_norm_eps, input_.row(m));
  quantize(worker, input_, rows, spec_.hidden_size, readers);
}

// hidden += input · Wᵀ. Each thread adds the outputs that it computed.
void Session::add_to_hidden(const Worker& worker, const Linear& linear, const LinearInput& input) {
  const Range panels = worker.share(linear.weight.panel_count());
  apply(linear, input, rows_, panels, {update_.data(), hidden_stride_});
  const int64_t first = panels.begin * panel_rows;
  for (int64_t m = 0; m < rows_; ++m)
    kernels().add(hidden_.data() + m * hidden_stride_ + first, update_.data() + m * hidden_stride_ + first,
                  panels.size() * panel_rows);
  worker.barrier();
}

void Session::attention_block(const Worker& worker, const DecoderLayer& layer, int64_t index) {
  normalise(worker, layer.input_layernorm, 0, rows_, {&layer.q_proj, &layer.k_proj, &layer.v_proj});
  const std::initializer_list<const Linear*> qkv = {&layer.q_proj, &layer.k_proj, &layer.v_proj};
  const MatmulOutput outputs[] = {{q_.data(), q_stride_}, {k_.data(), kv_stride_}, {v_.data(), kv_stride_}};
  share_panels(worker, qkv, [&](size_t i, Range panels) {
    apply(*qkv.begin()[i], input_, rows_, panels, outputs[i]);
  });
  worker.barrier();
  rotate_and_store(worker, layer, index);
  attend(worker, index);
  quantize(worker, attended_, rows_, spec_.q_size(), {&layer.o_proj});
  add_to_hidden(worker, layer.o_proj, attended_);
}

// Heads are shared out, not tokens: neighbouring positions of a key lie in one cache line.
void Session::rotate_and_store(const Worker& worker, const DecoderLayer& layer, int64_t index) {
  const int64_t head_dim = spec_.head_dim, half = head_dim / 2;
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  const Range mine = worker.share(spec_.num_attention_heads + spec_.num_key_value_heads);
  for (int64_t head = mine.begin; head < mine.end; ++head) {
    const bool is_query = head < spec_.num_attention_heads;
    const int64_t kv_head = head - spec_.num_attention_heads;
    const std::vector<float>& norm = is_query ? layer.q_norm : layer.k_norm;
    for (int64_t m = 0; m < rows_; ++m) {
      float* row = is_query ? q_.data() + m * q_stride_ + head * head_dim : k_.data() + m * kv_stride_ + kv_head * head_dim;
      if (!norm.empty()) kernels().rms_norm(row, norm.data(), head_dim, spec_.rms_norm_eps, row);
      kernels().rope(row, cosines_.data() + m * half, sines_.data() + m * half, head_dim);
      if (is_query)
        for (int64_t d = 0; d < head_dim; ++d) row[d] *= scale;
      else
        kernels().store_kv(cache_.head(index, kv_head), position_ + m, row,
                           v_.data() + m * kv_stride_ + kv_head * head_dim);
    }
  }
  worker.barrier();
}

void Session::attend(const Worker& worker, int64_t layer) {
  const int64_t head_dim = spec_.head_dim;
  const int64_t group = spec_.num_attention_heads / spec_.num_key_value_heads;  // query heads of a key/value head
  const int64_t queries = rows_ * group;
  const int64_t tiles = (queries + max_query_tile - 1) / max_query_tile;
  const int64_t window = layer >= spec_.max_window_layers ? spec_.sliding_window : 0;
  float* scores = scores_.data() + worker.index * max_query_tile * cache_.context();
  // Dealt out one by one, since later tokens look back further.
  for (int64_t item = worker.index; item < spec_.num_key_value_heads * tiles; item += worker.count) {
    const int64_t kv_head = item / tiles, first = item % tiles * max_query_tile;
    Query tile[max_query_tile];
    const int64_t count = std::min<int64_t>(max_query_tile, queries - first);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t m = (first + i) / group, head = kv_head * group + (first + i) % group;
      const int64_t end = position_ + m + 1;
      tile[i] = {q_.data() + m * q_stride_ + head * head_dim, attended_.row(m) + head * head_dim,
                 window ? std::max<int64_t>(0, end - window) : 0, end};
    }
    kernels().attention(cache_.head(layer, kv_head), {tile, static_cast<size_t>(count)}, scores, cache_.context());
  }
  worker.barrier();
}

void Session::mlp_block(const Worker& worker, const DecoderLayer& layer) {
  normalise(worker, layer.post_attention_layernorm, 0, rows_, {&layer.gate_proj, &layer.up_proj});
  const Range panels = worker.share(layer.gate_proj.weight.panel_count());
  const int64_t first = panels.begin * panel_rows, width = panels.size() * panel_rows;
  apply(layer.gate_proj, input_, rows_, panels, {mlp_.row(0), mlp_.stride()});
  apply(layer.up_proj, input_, rows_, panels, {up_.data(), mlp_.stride()});
  for (int64_t m = 0; m < rows_; ++m)
    kernels().silu_mul(mlp_.row(m) + first, up_.data() + m * mlp_.stride() + first, width);
  worker.barrier();
  quantize(worker, mlp_, rows_, spec_.intermediate_size, {&layer.down_proj});
  add_to_hidden(worker, layer.down_proj, mlp_);
}

void Session::head(const Worker& worker, int64_t first_row, int64_t rows) {
  normalise(worker, model_.norm(), first_row, rows, {&model_.lm_head()});
  apply(model_.lm_head(), input_, rows, worker.share(model_.lm_head().weight.panel_count()), {logits_.data(), vocab_stride_});
}

}  // namespace whittle
