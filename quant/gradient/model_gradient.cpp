#include "quant/gradient/model_gradient.h"

#include <algorithm>

#include "engine/files/interrupts.h"
#include "kernels/error.h"
#include "quant/gradient/operations.h"

namespace whittle {
namespace {

void copy(const Team& team, const Matrix& from, Matrix& to) { quantize_inputs(team, from, 0, to); }

// dL/d(table) where row m was taken from row ids[m] of it; columns are shared out, so that each sum has one
// order.
void add_rows_taken(const Team& team, const Matrix& d_rows, std::span<const int32_t> ids, Matrix& d_table) {
  constexpr int64_t block = 64;
  team.for_each((d_table.cols() + block - 1) / block, [&](int64_t item) {
    const int64_t end = std::min(d_table.cols(), item * block + block);
    for (int64_t m = 0; m < d_rows.rows(); ++m)
      for (int64_t i = item * block; i < end; ++i)
        d_table.row(ids[static_cast<size_t>(m)])[i] += d_rows.row(m)[i];
  });
}

}  // namespace

ModelGradient::ModelGradient(const WeightSource& source, const Team& team)
    : source_(source), team_(team), block_(source.spec(), team) {}

int64_t ModelGradient::rows_at_once() const {
  return std::clamp<int64_t>((int64_t{1} << 24) / source_.spec().vocab_size, 64, 4096);
}

void ModelGradient::check(std::span<const std::vector<int32_t>> windows) const {
  for (size_t w = 0; w < windows.size(); ++w) {
    check_positions(source_.spec(), std::ssize(windows[w]));
    for (const int32_t id : windows[w])
      if (id < 0 || id >= source_.spec().vocab_size)
        fail("window {}: token {} is not within the vocabulary of {}", w, id, source_.spec().vocab_size);
  }
}

void ModelGradient::embed() {
  const Inventory& inventory = source_.inventory();
  const int64_t width = source_.spec().hidden_size, tokens = std::ssize(ids_);
  const WeightMatrix table = source_.matrix(inventory.embedding());
  const Module* learned = module(Role::position_embedding);
  const WeightMatrix positions = learned ? source_.matrix(*learned) : WeightMatrix();
  embedded_.reshape(tokens, width);
  team_.for_each(std::ssize(sequences_), [&](int64_t s) {
    const Range sequence = sequences_[static_cast<size_t>(s)];
    std::vector<float> position(static_cast<size_t>(width));
    for (int64_t m = sequence.begin; m < sequence.end; ++m) {
      float* const row = embedded_.row(m);
      table.decode_row(ids_[static_cast<size_t>(m)], row);
      if (!learned) continue;
      positions.decode_row(m - sequence.begin, position.data());
      for (int64_t i = 0; i < width; ++i) row[i] += position[static_cast<size_t>(i)];
    }
  });
  source_.release(table);
  if (learned) source_.release(positions);
  if (const Module* norm = module(Role::embedding_norm))
    normalise(team_, source_.spec(), load_norm(source_, *norm), embedded_, streams_[0]);
  else
    copy(team_, embedded_, streams_[0]);
}

void ModelGradient::forward(std::span<const std::vector<int32_t>> windows) {
  check(windows);
  ids_.clear();
  sequences_.clear();
  for (const std::vector<int32_t>& window : windows) {
    sequences_.push_back({std::ssize(ids_), std::ssize(ids_) + std::ssize(window)});
    ids_.insert(ids_.end(), window.begin(), window.end());
  }
  const int64_t layers = source_.spec().num_hidden_layers;
  streams_.resize(static_cast<size_t>(layers) + 1);
  embed();
  for (int64_t layer = 0; layer < layers; ++layer) {
    check_interrupted();
    Matrix& after = streams_[static_cast<size_t>(layer) + 1];
    copy(team_, streams_[static_cast<size_t>(layer)], after);
    load_values(source_, layer, team_, values_);
    block_.forward(values_, layer, sequences_, after);
  }
  normalise(team_, source_.spec(), load_norm(source_, *module(Role::final_norm)), streams_.back(), final_);
  head_ = load_values(source_, source_.inventory().head(), team_);
  quantize_inputs(team_, final_, head_.input_group_size, read_);
  head_panels_.pack(team_, head_.weight);
}

void ModelGradient::logits(Range tokens, Matrix& out) {
  multiply(team_, read_.view(tokens), head_panels_, out);
}

void ModelGradient::backward(const LogitsLoss& loss, const Wanted& wanted, const GradientReceiver& receive) {
  backward_head(loss, wanted, receive);
  const Inventory& inventory = source_.inventory();
  for (int64_t layer = source_.spec().num_hidden_layers - 1; layer >= 0; --layer) {
    check_interrupted();
    load_values(source_, layer, team_, values_);
    block_.backward(
        values_, layer, sequences_, streams_[static_cast<size_t>(layer)],
        [&](Role role) { return wanted(*inventory.find(layer, role)); }, d_stream_, gradient_);
    hand_on(source_, layer, gradient_, wanted, receive);
  }
  backward_embedding(wanted, receive);
}

void ModelGradient::backward_head(const LogitsLoss& loss, const Wanted& wanted,
                                  const GradientReceiver& receive) {
  const Module& head = source_.inventory().head();
  const int64_t tokens = std::ssize(ids_), width = source_.spec().hidden_size;
  const bool head_wanted = wanted(head);
  Matrix d_final(tokens, width), logits_of, update, turned, inputs;
  Panels back, read;
  back.pack_transposed(team_, head_.weight);
  if (head_wanted) {
    d_head_.reshape(head.rows, head.cols);
    fill(team_, d_head_, 0);
  }
  for (int64_t first = 0; first < tokens; first += rows_at_once()) {
    check_interrupted();
    const Range rows = {first, std::min(tokens, first + rows_at_once())};
    logits(rows, logits_of);
    loss(first, logits_of);
    multiply(team_, logits_of.view(), back, update);
    team_.for_each(rows.size(),
                   [&](int64_t m) { std::copy_n(update.row(m), width, d_final.row(first + m)); });
    if (!head_wanted) continue;
    inputs.reshape(rows.size(), width);
    team_.for_each(rows.size(), [&](int64_t m) { std::copy_n(read_.row(first + m), width, inputs.row(m)); });
    transpose(team_, logits_of, turned);
    read.pack_transposed(team_, inputs);
    multiply(team_, turned.view(), read, update);
    add(team_, d_head_, update);
  }
  if (head_wanted && !source_.inventory().tied()) receive({head, d_head_, {}});

  const Module& norm = *module(Role::final_norm);
  d_stream_.reshape(tokens, width);
  fill(team_, d_stream_, 0);
  Norm d_norm;
  normalise_backward(team_, source_.spec(), load_norm(source_, norm), streams_.back(), d_final, d_stream_,
                     d_norm);
  if (wanted(norm)) hand_on(norm, d_norm, receive);
}

void ModelGradient::backward_embedding(const Wanted& wanted, const GradientReceiver& receive) {
  if (const Module* norm = module(Role::embedding_norm)) {
    Matrix d_embedded(embedded_.rows(), embedded_.cols());
    fill(team_, d_embedded, 0);
    Norm d_norm;
    normalise_backward(team_, source_.spec(), load_norm(source_, *norm), embedded_, d_stream_, d_embedded,
                       d_norm);
    std::swap(d_stream_, d_embedded);
    if (wanted(*norm)) hand_on(*norm, d_norm, receive);
  }
  if (const Module* table = module(Role::position_embedding); table && wanted(*table)) {
    std::vector<int32_t> positions;
    for (const Range& sequence : sequences_)
      for (int64_t m = sequence.begin; m < sequence.end; ++m)
        positions.push_back(static_cast<int32_t>(m - sequence.begin));
    Matrix d_table(table->rows, table->cols);
    fill(team_, d_table, 0);
    add_rows_taken(team_, d_stream_, positions, d_table);
    receive({*table, d_table, {}});
  }
  const Module& embedding = source_.inventory().embedding();
  if (!wanted(embedding)) return;
  if (!source_.inventory().tied()) {
    d_head_.reshape(embedding.rows, embedding.cols);
    fill(team_, d_head_, 0);
  }
  add_rows_taken(team_, d_stream_, ids_, d_head_);
  receive({embedding, d_head_, {}});
}

}  // namespace whittle
