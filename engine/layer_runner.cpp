#include "engine/layer_runner.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/error.h"

namespace whittle {
namespace {

// The part of `piece` that each of several weights has whose panels are laid end to end: calls body(weight
// index, its panels).
template <class Body>
void split_panels(Range piece, std::initializer_list<const Linear*> linears, Body body) {
  int64_t first = 0;
  size_t index = 0;
  for (const Linear* linear : linears) {
    const int64_t count = linear->panels();
    const Range panels = {std::clamp<int64_t>(piece.begin - first, 0, count),
                          std::clamp<int64_t>(piece.end - first, 0, count)};
    if (panels.size() > 0) body(index, panels);
    first += count;
    ++index;
  }
}

}  // namespace

ScratchSizes::ScratchSizes(const ModelSpec& spec, int threads, int64_t rows, int64_t context)
    : hidden_stride(round_up(spec.hidden_size, panel_rows)),
      q_stride(round_up(spec.q_size(), panel_rows)),
      kv_stride(round_up(spec.kv_size(), panel_rows)),
      hidden(rows * hidden_stride),
      q(rows * q_stride),
      kv(rows * kv_stride),
      up(spec.gated_mlp ? rows * LinearInput::stride_of(spec.intermediate_size) : 0),
      angles(spec.positions == Positions::rope ? rows * spec.head_dim / 2 : 0),
      scores(threads * max_queries * round_up(context, kv_block)) {}

int64_t LayerRunner::scratch_bytes(const ModelSpec& spec, const std::vector<int64_t>& group_sizes,
                                   int threads, int64_t max_rows, int64_t max_context) {
  const ScratchSizes sizes(spec, threads, max_rows, max_context);
  const int64_t floats = 2 * (sizes.hidden + sizes.kv + sizes.angles) + sizes.q + sizes.up + sizes.scores;
  return floats * static_cast<int64_t>(sizeof(float)) +
         LinearInput::bytes(max_rows, spec.hidden_size, group_sizes) +
         LinearInput::bytes(max_rows, spec.q_size(), group_sizes) +
         LinearInput::bytes(max_rows, spec.intermediate_size, group_sizes);
}

LayerRunner::LayerRunner(const ModelSpec& spec, const std::vector<int64_t>& group_sizes, const Team& team,
                         int64_t max_rows, int64_t max_context)
    : spec_(spec),
      group_sizes_(group_sizes),
      team_(team),
      max_rows_(max_rows),
      max_context_(round_up(max_context, kv_block)),
      rope_(spec_),
      sizes_(spec_, team.size(), max_rows_, max_context_),
      hidden_(sizes_.hidden),
      input_(max_rows, spec_.hidden_size, group_sizes),
      q_(sizes_.q),
      k_(sizes_.kv),
      v_(sizes_.kv),
      attended_(max_rows, spec_.q_size(), group_sizes),
      mlp_(max_rows, spec_.intermediate_size, group_sizes),
      up_(sizes_.up),
      update_(sizes_.hidden),
      cosines_(sizes_.angles),
      sines_(sizes_.angles),
      scores_(sizes_.scores) {
  // What attention hands out at most.
  if (max_rows * spec_.num_key_value_heads > most_items)
    fail("{} rows of {} key/value heads are more than {} pieces of work", max_rows, spec_.num_key_value_heads,
         most_items);
  if (spec_.positions == Positions::alibi) slopes_ = alibi_slopes(spec_.num_attention_heads);
}

void LayerRunner::begin(std::span<const DecoderRow> rows) {
  if (static_cast<int64_t>(rows.size()) > max_rows_)
    fail("a step of {} rows: this decoder takes at most {}", rows.size(), max_rows_);
  rows_ = rows;
  plan_attention();
}

void LayerRunner::place(int64_t m) {
  if (spec_.positions != Positions::rope) return;
  const int64_t half = spec_.head_dim / 2;
  rope_.angles(rows_[static_cast<size_t>(m)].position, cosines_.data() + m * half, sines_.data() + m * half);
}

void LayerRunner::run(const Worker& worker, const DecoderLayer& layer, int32_t index) {
  show_hidden(worker, index);
  if (layer.has_attention()) attention_block(worker, layer, index);
  if (layer.has_mlp()) mlp_block(worker, layer, index);
}

void LayerRunner::run_alone(const DecoderLayer& layer, int32_t index, std::span<const DecoderRow> rows,
                            float* hidden, int64_t stride) {
  if (index < 0 || index >= spec_.num_hidden_layers)
    fail("layer {}: expected 0 to {}", index, spec_.num_hidden_layers - 1);
  for (const Linear* linear : layer.linears())
    if (*linear && std::ranges::find(group_sizes_, linear->activation_group_size()) == group_sizes_.end())
      fail("a linear with activations in groups of {}: this runner has none",
           linear->activation_group_size());
  for (const DecoderRow& row : rows)
    if (row.position < 0 || row.position >= std::min(row.cache->context(), max_context_))
      fail("position {} is beyond the cache or the runner", row.position);
  begin(rows);
  const size_t bytes = static_cast<size_t>(spec_.hidden_size) * sizeof(float);
  team_.run([&](const Worker& worker) {
    each(worker, Operation::embed, index, row_count(), [&](Range mine) {
      for (int64_t m = mine.begin; m < mine.end; ++m) {
        std::memcpy(this->hidden(m), hidden + m * stride, bytes);
        place(m);
      }
    });
    run(worker, layer, index);
  });
  for (int64_t m = 0; m < row_count(); ++m) std::memcpy(hidden + m * stride, this->hidden(m), bytes);
}

void LayerRunner::show_hidden(const Worker& worker, int32_t layer) {
  if (!observer_ || !observer_->hidden) return;
  worker.hand_out(1, [&](Range) {
    observer_->hidden(layer, {row_count(), sizes_.hidden_stride, hidden_.data()});
  });
}

void LayerRunner::show_input(const Worker& worker, int32_t layer, Role reader, const LinearInput& input,
                             int64_t rows) {
  if (!observer_ || !observer_->input) return;
  worker.hand_out(1, [&](Range) { observer_->input(layer, reader, input.floats(rows)); });
}

// Attention reads a cache once for all queries of a span, so that a span stays within the rows of one cache.
void LayerRunner::plan_attention() {
  const int64_t group = spec_.query_group();
  query_spans_.clear();
  for (size_t first = 0, end = 0; first < rows_.size(); first = end) {
    while (end < rows_.size() && rows_[end].cache == rows_[first].cache) ++end;
    const int64_t last_query = static_cast<int64_t>(end) * group;
    for (int64_t query = static_cast<int64_t>(first) * group; query < last_query; query += max_queries)
      query_spans_.push_back({query, std::min<int64_t>(max_queries, last_query - query)});
  }
}

void LayerRunner::quantize(LinearInput& input, Range rows, int64_t cols,
                           std::initializer_list<const Linear*> readers) {
  for (const int64_t group_size : group_sizes_) {
    const bool wanted = std::any_of(readers.begin(), readers.end(), [&](const Linear* reader) {
      return *reader && reader->activation_group_size() == group_size;
    });
    for (int64_t m = rows.begin; wanted && m < rows.end; ++m) input.quantize(m, cols, group_size);
  }
}

void LayerRunner::apply(const Norm& norm, const float* x, int64_t n, float* y) const {
  if (spec_.norm == NormType::layer)
    kernels().layer_norm(x, norm.weight.data(), norm.bias.data(), n, spec_.norm_eps, y);
  else
    kernels().rms_norm(x, norm.weight.data(), n, spec_.norm_eps, y);
}

const LinearInput& LayerRunner::normalise(const Worker& worker, int32_t layer, const Norm& norm,
                                          int64_t first_row, int64_t rows,
                                          std::initializer_list<const Linear*> readers) {
  each(worker, Operation::norm, layer, rows, [&](Range mine) {
    for (int64_t m = mine.begin; m < mine.end; ++m)
      apply(norm, hidden(first_row + m), spec_.hidden_size, input_.row(m));
    quantize(input_, mine, spec_.hidden_size, readers);
  });
  return input_;
}

void LayerRunner::add_to_hidden(const Worker& worker, Operation operation, int32_t layer, Role role,
                                const Linear& linear, LinearInput& input) {
  each(worker, Operation::quantize, layer, row_count(),
       [&](Range mine) { quantize(input, mine, linear.cols(), {&linear}); });
  show_input(worker, layer, role, input, row_count());
  each(worker, operation, layer, linear.panels(), [&](Range panels) {
    linear.multiply(input, row_count(), panels, {update_.data(), sizes_.hidden_stride});
    const int64_t first = panels.begin * panel_rows;
    for (int64_t m = 0; m < row_count(); ++m)
      kernels().add(hidden(m) + first, update_.data() + m * sizes_.hidden_stride + first,
                    panels.size() * panel_rows);
    return linear.work(row_count(), panels);
  });
}

void LayerRunner::attention_block(const Worker& worker, const DecoderLayer& layer, int32_t index) {
  const std::initializer_list<const Linear*> qkv = {&layer.q, &layer.k, &layer.v};
  normalise(worker, index, layer.attention_norm, 0, row_count(), qkv);
  show_input(worker, index, Role::q, input_, row_count());
  int64_t panel_count = 0;
  for (const Linear* linear : qkv) panel_count += linear->panels();
  each(worker, Operation::qkv, index, panel_count, [&](Range piece) {
    const MatmulOutput outputs[] = {
        {q_.data(), sizes_.q_stride}, {k_.data(), sizes_.kv_stride}, {v_.data(), sizes_.kv_stride}};
    Work work;
    split_panels(piece, qkv, [&](size_t i, Range panels) {
      const Linear& linear = *qkv.begin()[i];
      linear.multiply(input_, row_count(), panels, outputs[i]);
      work += linear.work(row_count(), panels);
    });
    return work;
  });
  rotate_and_store(worker, layer, index);
  attend(worker, layer, index);
  add_to_hidden(worker, Operation::o_proj, index, Role::o, layer.o, attended_);
}

// Heads are handed out, not tokens: neighbouring positions of a key lie in one cache line.
void LayerRunner::rotate_and_store(const Worker& worker, const DecoderLayer& layer, int32_t index) {
  const int64_t head_dim = spec_.head_dim, half = head_dim / 2;
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  const int64_t kv_heads = layer.k.rows() / head_dim, heads = kv_heads * spec_.query_group();
  each(worker, Operation::rope, index, heads + kv_heads, [&](Range mine) {
    for (int64_t head = mine.begin; head < mine.end; ++head) {
      const bool is_query = head < heads;
      const int64_t kv_head = head - heads;
      const std::vector<float>& norm = is_query ? layer.q_norm : layer.k_norm;
      for (int64_t m = 0; m < row_count(); ++m) {
        float* row = is_query ? q_.data() + m * sizes_.q_stride + head * head_dim
                              : k_.data() + m * sizes_.kv_stride + kv_head * head_dim;
        if (!norm.empty()) kernels().rms_norm(row, norm.data(), head_dim, spec_.norm_eps, row);
        if (spec_.positions == Positions::rope)
          kernels().rope(row, cosines_.data() + m * half, sines_.data() + m * half, head_dim);
        const DecoderRow& place = rows_[static_cast<size_t>(m)];
        if (is_query)
          for (int64_t d = 0; d < head_dim; ++d) row[d] *= scale;
        else
          kernels().store_kv(place.cache->head(index, kv_head), place.position, row,
                             v_.data() + m * sizes_.kv_stride + kv_head * head_dim);
      }
    }
  });
}

void LayerRunner::attend(const Worker& worker, const DecoderLayer& layer, int32_t index) {
  const int64_t head_dim = spec_.head_dim;
  const int64_t group = spec_.query_group();
  const int64_t window = spec_.window(index);
  const auto spans = static_cast<int64_t>(query_spans_.size());
  float* scores = scores_.data() + worker.index * max_queries * max_context_;
  each(worker, Operation::attention, index, layer.k.rows() / head_dim * spans, [&](Range mine) {
    Work work;
    for (int64_t item = mine.begin; item < mine.end; ++item) {
      const int64_t kv_head = item / spans;
      const auto [first, count] = query_spans_[static_cast<size_t>(item % spans)];
      Query queries[max_queries];
      for (int64_t i = 0; i < count; ++i) {
        const int64_t m = (first + i) / group, head = kv_head * group + (first + i) % group;
        const int64_t end = rows_[static_cast<size_t>(m)].position + 1;
        queries[i] = {q_.data() + m * sizes_.q_stride + head * head_dim, attended_.row(m) + head * head_dim,
                      window ? std::max<int64_t>(0, end - window) : 0, end,
                      slopes_.empty() ? 0 : slopes_[static_cast<size_t>(head)]};
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

void LayerRunner::mlp_block(const Worker& worker, const DecoderLayer& layer, int32_t index) {
  normalise(worker, index, layer.mlp_norm, 0, row_count(), {&layer.gate, &layer.up});
  show_input(worker, index, layer.gate ? Role::gate : Role::up, input_, row_count());
  each(worker, Operation::gate_up, index, layer.up.panels(), [&](Range panels) {
    const int64_t first = panels.begin * panel_rows, width = panels.size() * panel_rows;
    const MatmulOutput inner = {mlp_.row(0), mlp_.stride()};
    Work work = layer.up.work(row_count(), panels);
    if (layer.gate) {
      layer.gate.multiply(input_, row_count(), panels, inner);
      layer.up.multiply(input_, row_count(), panels, {up_.data(), mlp_.stride()});
      work += layer.gate.work(row_count(), panels);
      for (int64_t m = 0; m < row_count(); ++m)
        kernels().silu_mul(mlp_.row(m) + first, up_.data() + m * mlp_.stride() + first, width);
    } else {
      layer.up.multiply(input_, row_count(), panels, inner);
      for (int64_t m = 0; m < row_count(); ++m) kernels().gelu_tanh(mlp_.row(m) + first, width);
    }
    return work;
  });
  add_to_hidden(worker, Operation::down, index, Role::down, layer.down, mlp_);
}

}  // namespace whittle
