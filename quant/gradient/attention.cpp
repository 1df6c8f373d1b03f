#include "quant/gradient/attention.h"

#include <algorithm>
#include <cstring>

#include "engine/positions.h"
#include "quant/gradient/operations.h"

namespace whittle {
namespace {

// Queries go in blocks of as many as a panel has rows: the scores of a block, [keys][64 queries], are the
// rows of one operand and the panel of another, as they lie.
constexpr int64_t block = panel_rows;

// One head of a matrix of tokens.
struct HeadRows {
  const Matrix& matrix;
  int64_t first_col;
  const float* row(int64_t m) const { return matrix.row(m) + first_col; }
  FloatRows view(Range rows) const { return {rows.size(), matrix.stride(), row(rows.begin)}; }
};

// c [rows of a][64] = a · b of one panel.
void product(FloatRows a, const Panels& b, float* c) {
  kernels().matmul_float(b.packed(), a, {0, 1}, {c, block});
}

// What one thread needs for a head of a sequence.
class Head {
 public:
  Head(const AttentionShape& shape, int64_t longest, bool backward)
      : shape_(shape), dim_(shape.head_dim), padded_(round_up(dim_, panel_rows)), longest_(longest) {
    values_ = Buffer<float>(dim_ * longest);
    update_ = Buffer<float>(std::max(longest, dim_) * padded_);
    reshape(scores_, longest);
    reshape(queries_, dim_);
    if (!backward) return;
    keys_ = Buffer<float>(dim_ * longest);
    d_keys_ = Buffer<float>(longest * padded_);
    d_values_ = Buffer<float>(longest * padded_);
    reshape(d_scores_, longest);
    reshape(d_outs_, dim_);
    for (Panels* rows : {&query_rows_, &d_out_rows_}) rows->reshape(dim_, block);
  }

  void begin(const HeadRows& k, const HeadRows& v, Range sequence, bool backward) {
    k_ = &k;
    v_ = &v;
    sequence_ = sequence;
    turn(v, values_);
    if (!backward) return;
    turn(k, keys_);
    for (Buffer<float>* sums : {&d_keys_, &d_values_})
      std::fill_n(sums->data(), sequence.size() * padded_, 0.0f);
  }

  // The outputs of the block of queries from position `first` on.
  void attend(const HeadRows& q, int64_t first, float slope, float* out, int64_t stride) {
    const Range keys = weigh(q, first, slope);
    write_turned(values_, scores_, keys, first, out, stride);
  }

  void attend_backward(const HeadRows& q, int64_t first, float slope, const HeadRows& d_out, float* d_q,
                       int64_t stride) {
    const Range keys = weigh(q, first, slope),
                rows = {sequence_.begin + keys.begin, sequence_.begin + keys.end};
    take_columns(d_out, first, d_outs_);
    d_scores_.reshape(block, keys.size());
    product(v_->view(rows), d_outs_, d_scores_.panel(0));
    // Through the softmax: p · (d_p − Σ p · d_p).
    float means[block] = {};
    const float* const p = scores_.panel(0);
    float* const d = d_scores_.panel(0);
    for (int64_t key = 0; key < keys.size(); ++key)
      for (int64_t l = 0; l < block; ++l) means[l] += p[key * block + l] * d[key * block + l];
    for (int64_t key = 0; key < keys.size(); ++key)
      for (int64_t l = 0; l < block; ++l)
        d[key * block + l] = p[key * block + l] * (d[key * block + l] - means[l]);
    write_turned(keys_, d_scores_, keys, first, d_q, stride);
    take_rows(q, first, query_rows_);
    take_rows(d_out, first, d_out_rows_);
    add_products(d_scores_, keys, query_rows_, d_keys_);
    add_products(scores_, keys, d_out_rows_, d_values_);
  }

  void write(float* d_k, float* d_v, int64_t stride) const {
    for (int64_t m = 0; m < sequence_.size(); ++m) {
      std::copy_n(d_keys_.data() + m * padded_, dim_, d_k + m * stride);
      std::copy_n(d_values_.data() + m * padded_, dim_, d_v + m * stride);
    }
  }

 private:
  void reshape(Panels& panels, int64_t inputs) { panels.reshape(block, inputs); }
  int64_t count(int64_t first) const { return std::min(block, sequence_.size() - first); }

  // [positions][dim] to [dim][positions].
  void turn(const HeadRows& rows, Buffer<float>& to) const {
    for (int64_t m = 0; m < sequence_.size(); ++m)
      for (int64_t i = 0; i < dim_; ++i) to[i * longest_ + m] = rows.row(sequence_.begin + m)[i];
  }
  // The block's rows as a panel of 64 outputs; those past the end are zeros.
  void take_columns(const HeadRows& rows, int64_t first, Panels& to) const {
    float* const panel = to.panel(0);
    for (int64_t l = 0; l < block; ++l)
      for (int64_t i = 0; i < dim_; ++i)
        panel[i * block + l] = l < count(first) ? rows.row(sequence_.begin + first + l)[i] : 0;
  }
  // The block's rows as 64 inputs of `dim` outputs.
  void take_rows(const HeadRows& rows, int64_t first, Panels& to) const {
    for (int64_t index = 0; index < to.packed().panel_count(); ++index)
      for (int64_t l = 0; l < block; ++l) {
        float* const panel = to.panel(index) + l * panel_rows;
        const int64_t col = index * panel_rows, width = std::min(panel_rows, dim_ - col);
        std::fill_n(panel, panel_rows, 0.0f);
        if (l < count(first)) std::copy_n(rows.row(sequence_.begin + first + l) + col, width, panel);
      }
  }

  // scores_ becomes the softmax weights [keys][64] of the block's queries; returns which keys these are.
  Range weigh(const HeadRows& q, int64_t first, float slope) {
    const int64_t window = shape_.window;
    const Range keys = {window ? std::max<int64_t>(0, first - window + 1) : 0, first + count(first)};
    take_columns(q, first, queries_);
    scores_.reshape(block, keys.size());
    product(k_->view({sequence_.begin + keys.begin, sequence_.begin + keys.end}), queries_, scores_.panel(0));
    float* const scores = scores_.panel(0);
    float top[block], sums[block] = {};
    std::fill_n(top, block, unseen);
    for (int64_t key = keys.begin; key < keys.end; ++key) {
      float* const row = scores + (key - keys.begin) * block;
      // Lane l is the query at first + l: it sees a key no later than itself, and within the window.
      const int64_t seen_from = key - first, seen_to = window ? seen_from + window : block;
      for (int64_t l = 0; slope != 0 && l < block; ++l) row[l] -= slope * static_cast<float>(first + l - key);
      if (seen_from > 0) std::fill_n(row, seen_from, unseen);
      if (seen_to < block) std::fill(row + seen_to, row + block, unseen);
      for (int64_t l = 0; l < block; ++l) top[l] = row[l] > top[l] ? row[l] : top[l];
    }
    for (int64_t key = 0; key < keys.size(); ++key)
      for (int64_t l = 0; l < block; ++l) {
        const float weight = exponential(scores[key * block + l] - top[l]);
        sums[l] += weight;
        scores[key * block + l] = weight;
      }
    for (float& sum : sums) sum = 1.0f / sum;
    for (int64_t key = 0; key < keys.size(); ++key)
      for (int64_t l = 0; l < block; ++l) scores[key * block + l] *= sums[l];
    return keys;
  }

  // out[query][dim] = Σ over keys of turned[dim][key] · weights[key][query].
  void write_turned(const Buffer<float>& turned, const Panels& weights, Range keys, int64_t first, float* out,
                    int64_t stride) {
    product({dim_, longest_, turned.data() + keys.begin}, weights, update_.data());
    for (int64_t l = 0; l < count(first); ++l)
      for (int64_t i = 0; i < dim_; ++i) out[l * stride + i] = update_[i * block + l];
  }
  // sums[key][dim] += Σ over the block's queries of weights[key][query] · rows[query][dim].
  void add_products(Panels& weights, Range keys, const Panels& rows, Buffer<float>& sums) {
    kernels().matmul_float(rows.packed(), {keys.size(), block, weights.panel(0)},
                           {0, rows.packed().panel_count()}, {update_.data(), padded_});
    kernels().add(sums.data() + keys.begin * padded_, update_.data(), keys.size() * padded_);
  }

  static constexpr float unseen = -1e30f;  // finite, so that a query past the end, which sees none, is too
  const AttentionShape& shape_;
  int64_t dim_, padded_, longest_;
  const HeadRows *k_ = nullptr, *v_ = nullptr;
  Range sequence_;
  Panels scores_, d_scores_;         // [keys][64 queries]
  Panels queries_, d_outs_;          // [dim][64 queries]
  Panels query_rows_, d_out_rows_;   // [64 queries][dim]
  Buffer<float> keys_, values_;      // [dim][positions]
  Buffer<float> d_keys_, d_values_;  // [positions][padded dim]
  Buffer<float> update_;
};

// body(head, scratch) for each key/value head of each sequence, on one thread each.
template <class Body>
void for_heads(const Team& team, const AttentionShape& shape, std::span<const Range> sequences, bool backward,
               Body body) {
  int64_t longest = 0;
  for (const Range& sequence : sequences) longest = std::max(longest, sequence.size());
  const auto count = static_cast<int64_t>(sequences.size());
  team.run([&](const Worker& worker) {
    Head scratch(shape, longest, backward);
    worker.hand_out(count * shape.kv_heads, [&](Range items) {
      for (int64_t item = items.begin; item < items.end; ++item)
        body(scratch, sequences[static_cast<size_t>(item / shape.kv_heads)], item % shape.kv_heads);
    });
  });
}

// body(query head, its slope, position of a block's first query)
template <class Body>
void for_blocks(const AttentionShape& shape, Range sequence, int64_t kv_head, Body body) {
  const int64_t group = shape.heads / shape.kv_heads;
  for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head)
    for (int64_t first = 0; first < sequence.size(); first += block)
      body(head * shape.head_dim, shape.slopes.empty() ? 0 : shape.slopes[static_cast<size_t>(head)], first);
}

}  // namespace

AttentionShape attention_shape(const ModelSpec& spec, int64_t layer) {
  const int64_t kv_heads = spec.layer(layer).num_key_value_heads;
  AttentionShape shape = {kv_heads * spec.query_group(), kv_heads, spec.head_dim, spec.window(layer), {}};
  if (spec.positions == Positions::alibi) shape.slopes = alibi_slopes(spec.num_attention_heads);
  return shape;
}

void attend(const Team& team, const AttentionShape& shape, const AttentionInput& input, Matrix& out) {
  out.reshape(input.q.rows(), input.q.cols());
  for_heads(team, shape, input.sequences, false, [&](Head& scratch, Range sequence, int64_t kv_head) {
    const HeadRows k{input.k, kv_head * shape.head_dim}, v{input.v, kv_head * shape.head_dim};
    scratch.begin(k, v, sequence, false);
    for_blocks(shape, sequence, kv_head, [&](int64_t col, float slope, int64_t first) {
      scratch.attend({input.q, col}, first, slope, out.row(sequence.begin + first) + col, out.stride());
    });
  });
}

void attend_backward(const Team& team, const AttentionShape& shape, const AttentionInput& input,
                     const Matrix& d_out, Matrix& d_q, Matrix& d_k, Matrix& d_v) {
  d_q.reshape(input.q.rows(), input.q.cols());
  d_k.reshape(input.k.rows(), input.k.cols());
  d_v.reshape(input.v.rows(), input.v.cols());
  for_heads(team, shape, input.sequences, true, [&](Head& scratch, Range sequence, int64_t kv_head) {
    const int64_t kv_col = kv_head * shape.head_dim;
    const HeadRows k{input.k, kv_col}, v{input.v, kv_col};
    scratch.begin(k, v, sequence, true);
    for_blocks(shape, sequence, kv_head, [&](int64_t col, float slope, int64_t first) {
      scratch.attend_backward({input.q, col}, first, slope, {d_out, col},
                              d_q.row(sequence.begin + first) + col, d_q.stride());
    });
    scratch.write(d_k.row(sequence.begin) + kv_col, d_v.row(sequence.begin) + kv_col, d_k.stride());
  });
}

}  // namespace whittle
