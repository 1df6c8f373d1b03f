#include "engine/decoder.h"

#include <bit>

#include "engine/positions.h"
#include "kernels/error.h"

namespace whittle {
namespace {

// Whether none of `count` values is an infinity or no number.
bool all_finite(const float* values, int64_t count) {
  constexpr uint32_t exponent = 0x7f800000;
  uint32_t found = 0;
  for (int64_t i = 0; i < count; ++i) found |= (std::bit_cast<uint32_t>(values[i]) & exponent) == exponent;
  return !found;
}

// Floats of a row of logits.
int64_t vocab_stride(const ModelSpec& spec) { return round_up(spec.vocab_size, panel_rows); }

}  // namespace

int64_t Decoder::scratch_bytes(const ModelSpec& spec, const std::vector<int64_t>& group_sizes, int threads,
                               int64_t max_rows, int64_t max_context, int64_t logit_rows) {
  return LayerRunner::scratch_bytes(spec, group_sizes, threads, max_rows, max_context) +
         logit_rows * vocab_stride(spec) * static_cast<int64_t>(sizeof(float));
}

Decoder::Decoder(const Model& model, const Team& team, int64_t max_rows, int64_t max_context)
    : model_(model),
      runner_(model.spec(), model.activation_group_sizes(), team, max_rows, max_context),
      vocab_stride_(vocab_stride(model.spec())) {
  check_positions(model.spec(), max_context);
}

Logits Decoder::step(std::span<const DecoderRow> rows, int64_t logit_rows) {
  if (logits_.size() < logit_rows * vocab_stride_) logits_ = Buffer<float>(logit_rows * vocab_stride_);
  run(rows, logit_rows);
  const Logits logits = {logits_.data(), logit_rows, vocab_stride_, model_.spec().vocab_size};
  for (int64_t i = 0; i < logit_rows; ++i)
    if (!all_finite(logits.row(i).data(), logits.vocab_size)) explain_infinity(rows);
  return logits;
}

void Decoder::prepare(int64_t rows, int64_t logit_rows) {
  if (prepared_logit_rows_.insert(logit_rows).second) model_.head().prepare(logit_rows);
  if (!prepared_rows_.insert(rows).second) return;
  for (const DecoderLayer& layer : model_.layers())
    for (const Linear* linear : layer.linears()) linear->prepare(rows);
}

void Decoder::run(std::span<const DecoderRow> rows, int64_t logit_rows) {
  runner_.begin(rows);
  const auto row_count = static_cast<int64_t>(rows.size());
  prepare(row_count, logit_rows);
  const int32_t layers = static_cast<int32_t>(model_.spec().num_hidden_layers);
  runner_.team().run([&](const Worker& worker) {
    embed(worker, rows);
    for (int32_t i = 0; i < layers; ++i) runner_.run(worker, model_.layers()[static_cast<size_t>(i)], i);
    runner_.show_hidden(worker, layers);
    if (logit_rows) head(worker, row_count - logit_rows, logit_rows);
  });
}

void Decoder::embed(const Worker& worker, std::span<const DecoderRow> rows) {
  const int64_t size = model_.spec().hidden_size;
  runner_.each(worker, Operation::embed, -1, static_cast<int64_t>(rows.size()), [&](Range mine) {
    for (int64_t m = mine.begin; m < mine.end; ++m) {
      const DecoderRow& row = rows[static_cast<size_t>(m)];
      float* const hidden = runner_.hidden(m);
      model_.embed(row.token, row.position, hidden);
      if (model_.embedding_norm()) runner_.apply(*model_.embedding_norm(), hidden, size, hidden);
      runner_.place(m);
    }
  });
}

void Decoder::head(const Worker& worker, int64_t first_row, int64_t rows) {
  const Linear& linear = model_.head();
  const LinearInput& input = runner_.normalise(worker, -1, model_.final_norm(), first_row, rows, {&linear});
  runner_.show_input(worker, -1, Role::head, input, rows);
  runner_.each(worker, Operation::head, -1, linear.panels(), [&](Range panels) {
    linear.multiply(input, rows, panels, {logits_.data(), vocab_stride_});
    return linear.work(rows, panels);
  });
}

// The same step once more, which gives the same bits, seen layer by layer.
void Decoder::explain_infinity(std::span<const DecoderRow> rows) {
  int32_t first = -1;
  Observer observer;
  observer.hidden = [&](int32_t layer, FloatRows hidden) {
    for (int64_t m = 0; first < 0 && m < hidden.rows; ++m)
      if (!all_finite(hidden.values + m * hidden.stride, model_.spec().hidden_size)) first = layer;
  };
  struct Restore {  // also when the step throws
    LayerRunner& runner;
    const Observer* observer = runner.observer();
    ~Restore() { runner.observe(observer); }
  };
  {
    const Restore restore{runner_};
    runner_.observe(&observer);
    run(rows, 0);
  }
  const int64_t layers = model_.spec().num_hidden_layers;
  fail("the logits are not finite: {}",
       first < 0    ? "the final norm or the head made them so"
       : first == 0 ? "the embedding is not"
                    : fmt::format("the output of layer {} of 0 to {} is the first that is not", first - 1,
                                  layers - 1));
}

}  // namespace whittle
