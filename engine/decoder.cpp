#include "engine/decoder.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <type_traits>

namespace whittle {
namespace {

// The part of `piece` that each of several weights has whose panels are laid end to end: calls body(weight
// index, its panels).
template <class Body>
void split_panels(Range piece, std::initializer_list<const Linear*> linears, Body body) {
  int64_t first = 0;
  size_t index = 0;
  for (const Linear* linear : linears) {
    const int64_t count = linear->weight.panel_count();
    const Range panels = {std::clamp<int64_t>(piece.begin - first, 0, count),
                          std::clamp<int64_t>(piece.end - first, 0, count)};
    if (panels.size() > 0) body(index, panels);
    first += count;
    ++index;
  }
}

// What `rows` rows through some panels of a linear must move and compute.
Work work_of(const Linear& linear, int64_t rows, Range panels) {
  const PackedWeight& w = linear.weight;
  const int64_t bytes = panels.size() * (w.panel_bytes + (w.row_scaled() ? w.header_bytes() : 0));
  const int64_t operations = 2 * rows * panels.size() * panel_rows * w.cols;
  return w.quantized() ? Work{bytes, operations, 0} : Work{bytes, 0, operations};
}

}  // namespace

Decoder::Decoder(const Model& model, const Team& team, int64_t max_rows, int64_t max_context)
    : model_(model),
      spec_(model.spec()),
      team_(team),
      max_rows_(max_rows),
      max_context_(round_up(max_context, kv_block)),
      rope_(spec_),
      hidden_stride_(round_up(spec_.hidden_size, panel_rows)),
      q_stride_(round_up(spec_.q_size(), panel_rows)),
      kv_stride_(round_up(spec_.kv_size(), panel_rows)),
      vocab_stride_(round_up(spec_.vocab_size, panel_rows)),
      hidden_(max_rows * hidden_stride_),
      input_(max_rows, spec_.hidden_size, model.activation_group_sizes()),
      q_(max_rows * q_stride_),
      k_(max_rows * kv_stride_),
      v_(max_rows * kv_stride_),
      attended_(max_rows, spec_.q_size(), model.activation_group_sizes()),
      mlp_(max_rows, spec_.intermediate_size, model.activation_group_sizes()),
      up_(max_rows * mlp_.stride()),
      update_(max_rows * hidden_stride_),
      cosines_(max_rows * spec_.head_dim / 2),
      sines_(max_rows * spec_.head_dim / 2),
      scores_(team.size() * max_queries * max_context_) {}

Logits Decoder::step(std::span<const DecoderRow> rows, int64_t logit_rows) {
  assert(static_cast<int64_t>(rows.size()) <= max_rows_);
  rows_ = rows;
  if (logits_.size() < logit_rows * vocab_stride_) logits_ = Buffer<float>(logit_rows * vocab_stride_);
  plan_attention();
  team_.run([&](const Worker& worker) {
    embed(worker);
    for (int32_t i = 0; i < spec_.num_hidden_layers; ++i) {
      attention_block(worker, i);
      mlp_block(worker, i);
    }
    if (logit_rows) head(worker, static_cast<int64_t>(rows.size()) - logit_rows, logit_rows);
  });
  return {logits_.data(), logit_rows, vocab_stride_, spec_.vocab_size};
}

template <class Body>
void Decoder::each(const Worker& worker, Operation operation, int32_t layer, int64_t total, Body body) {
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

// Attention reads a cache once for all queries of a span, so that a span stays within the rows of one cache.
void Decoder::plan_attention() {
  const int64_t group = spec_.num_attention_heads / spec_.num_key_value_heads;
  query_spans_.clear();
  for (size_t first = 0, end = 0; first < rows_.size(); first = end) {
    while (end < rows_.size() && rows_[end].cache == rows_[first].cache) ++end;
    const int64_t last_query = static_cast<int64_t>(end) * group;
    for (int64_t query = static_cast<int64_t>(first) * group; query < last_query; query += max_queries)
      query_spans_.push_back({query, std::min<int64_t>(max_queries, last_query - query)});
  }
}

void Decoder::embed(const Worker& worker) {
  each(worker, Operation::embed, -1, row_count(), [&](Range mine) {
    const int64_t half = spec_.head_dim / 2;
    for (int64_t m = mine.begin; m < mine.end; ++m) {
      const DecoderRow& row = rows_[static_cast<size_t>(m)];
      model_.embed(row.token, hidden_.data() + m * hidden_stride_);
      rope_.angles(row.position, cosines_.data() + m * half, sines_.data() + m * half);
    }
  });
}

void Decoder::quantize(LinearInput& input, Range rows, int64_t cols,
                       std::initializer_list<const Linear*> readers) {
  for (const int64_t group_size : model_.activation_group_sizes()) {
    const bool wanted = std::any_of(readers.begin(), readers.end(), [&](const Linear* reader) {
      return reader->activation_group_size == group_size;
    });
    for (int64_t m = rows.begin; wanted && m < rows.end; ++m) input.quantize(m, cols, group_size);
  }
}

void Decoder::normalise(const Worker& worker, int32_t layer, const std::vector<float>& weight,
                        int64_t first_row, int64_t rows, std::initializer_list<const Linear*> readers) {
  each(worker, Operation::norm, layer, rows, [&](Range mine) {
    for (int64_t m = mine.begin; m < mine.end; ++m)
      kernels().rms_norm(hidden_.data() + (first_row + m) * hidden_stride_, weight.data(), spec_.hidden_size,
                         spec_.rms_norm_eps, input_.row(m));
    quantize(input_, mine, spec_.hidden_size, readers);
  });
}

void Decoder::add_to_hidden(const Worker& worker, Operation operation, int32_t layer, const Linear& linear,
                            LinearInput& input) {
  each(worker, Operation::quantize, layer, row_count(),
       [&](Range mine) { quantize(input, mine, linear.weight.cols, {&linear}); });
  each(worker, operation, layer, linear.weight.panel_count(), [&](Range panels) {
    apply(linear, input, row_count(), panels, {update_.data(), hidden_stride_});
    const int64_t first = panels.begin * panel_rows;
    for (int64_t m = 0; m < row_count(); ++m)
      kernels().add(hidden_.data() + m * hidden_stride_ + first, update_.data() + m * hidden_stride_ + first,
                    panels.size() * panel_rows);
    return work_of(linear, row_count(), panels);
  });
}

void Decoder::attention_block(const Worker& worker, int32_t index) {
  const DecoderLayer& layer = model_.layers()[static_cast<size_t>(index)];
  const std::initializer_list<const Linear*> qkv = {&layer.q_proj, &layer.k_proj, &layer.v_proj};
  normalise(worker, index, layer.input_layernorm, 0, row_count(), qkv);
  int64_t panel_count = 0;
  for (const Linear* linear : qkv) panel_count += linear->weight.panel_count();
  each(worker, Operation::qkv, index, panel_count, [&](Range piece) {
    const MatmulOutput outputs[] = {{q_.data(), q_stride_}, {k_.data(), kv_stride_}, {v_.data(), kv_stride_}};
    Work work;
    split_panels(piece, qkv, [&](size_t i, Range panels) {
      apply(*qkv.begin()[i], input_, row_count(), panels, outputs[i]);
      work += work_of(*qkv.begin()[i], row_count(), panels);
    });
    return work;
  });
  rotate_and_store(worker, index);
  attend(worker, index);
  add_to_hidden(worker, Operation::o_proj, index, layer.o_proj, attended_);
}

// Heads are handed out, not tokens: neighbouring positions of a key lie in one cache line.
void Decoder::rotate_and_store(const Worker& worker, int32_t index) {
  const DecoderLayer& layer = model_.layers()[static_cast<size_t>(index)];
  const int64_t head_dim = spec_.head_dim, half = head_dim / 2;
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  each(worker, Operation::rope, index, spec_.num_attention_heads + spec_.num_key_value_heads,
       [&](Range mine) {
         for (int64_t head = mine.begin; head < mine.end; ++head) {
           const bool is_query = head < spec_.num_attention_heads;
           const int64_t kv_head = head - spec_.num_attention_heads;
           const std::vector<float>& norm = is_query ? layer.q_norm : layer.k_norm;
           for (int64_t m = 0; m < row_count(); ++m) {
             float* row = is_query ? q_.data() + m * q_stride_ + head * head_dim
                                   : k_.data() + m * kv_stride_ + kv_head * head_dim;
             if (!norm.empty()) kernels().rms_norm(row, norm.data(), head_dim, spec_.rms_norm_eps, row);
             kernels().rope(row, cosines_.data() + m * half, sines_.data() + m * half, head_dim);
             const DecoderRow& place = rows_[static_cast<size_t>(m)];
             if (is_query)
               for (int64_t d = 0; d < head_dim; ++d) row[d] *= scale;
             else
               kernels().store_kv(place.cache->head(index, kv_head), place.position, row,
                                  v_.data() + m * kv_stride_ + kv_head * head_dim);
           }
         }
       });
}

void Decoder::attend(const Worker& worker, int32_t index) {
  const int64_t head_dim = spec_.head_dim;
  const int64_t group =
      spec_.num_attention_heads / spec_.num_key_value_heads;  // query heads of a key/value head
  const int64_t window = index >= spec_.max_window_layers ? spec_.sliding_window : 0;
  const auto spans = static_cast<int64_t>(query_spans_.size());
  float* scores = scores_.data() + worker.index * max_queries * max_context_;
  each(worker, Operation::attention, index, spec_.num_key_value_heads * spans, [&](Range mine) {
    Work work;
    for (int64_t item = mine.begin; item < mine.end; ++item) {
      const int64_t kv_head = item / spans;
      const auto [first, count] = query_spans_[static_cast<size_t>(item % spans)];
      Query queries[max_queries];
      for (int64_t i = 0; i < count; ++i) {
        const int64_t m = (first + i) / group, head = kv_head * group + (first + i) % group;
        const int64_t end = rows_[static_cast<size_t>(m)].position + 1;
        queries[i] = {q_.data() + m * q_stride_ + head * head_dim, attended_.row(m) + head * head_dim,
                      window ? std::max<int64_t>(0, end - window) : 0, end};
        work.float_operations += 4 * head_dim * (end - queries[i].begin);
      }
      KvCache& cache = *rows_[static_cast<size_t>(first / group)].cache;
      work.bytes += cache.head_bytes(queries[count - 1].end - queries[0].begin);
      kernels().attention(cache.head(index, kv_head), {queries, static_cast<size_t>(count)}, scores,
                          max_context_);
    }
    return work;
  });
}

void Decoder::mlp_block(const Worker& worker, int32_t index) {
  const DecoderLayer& layer = model_.layers()[static_cast<size_t>(index)];
  normalise(worker, index, layer.post_attention_layernorm, 0, row_count(),
            {&layer.gate_proj, &layer.up_proj});
  each(worker, Operation::gate_up, index, layer.gate_proj.weight.panel_count(), [&](Range panels) {
    apply(layer.gate_proj, input_, row_count(), panels, {mlp_.row(0), mlp_.stride()});
    apply(layer.up_proj, input_, row_count(), panels, {up_.data(), mlp_.stride()});
    const int64_t first = panels.begin * panel_rows, width = panels.size() * panel_rows;
    for (int64_t m = 0; m < row_count(); ++m)
      kernels().silu_mul(mlp_.row(m) + first, up_.data() + m * mlp_.stride() + first, width);
    return work_of(layer.gate_proj, row_count(), panels) += work_of(layer.up_proj, row_count(), panels);
  });
  add_to_hidden(worker, Operation::down, index, layer.down_proj, mlp_);
}

void Decoder::head(const Worker& worker, int64_t first_row, int64_t rows) {
  normalise(worker, -1, model_.norm(), first_row, rows, {&model_.lm_head()});
  each(worker, Operation::head, -1, model_.lm_head().weight.panel_count(), [&](Range panels) {
    apply(model_.lm_head(), input_, rows, panels, {logits_.data(), vocab_stride_});
    return work_of(model_.lm_head(), rows, panels);
  });
}

}  // namespace whittle
