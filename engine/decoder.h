#pragma once
// One step of a model: some rows go through all layers together, from token ids to logits.

#include <cstdint>
#include <set>
#include <span>
#include <vector>

#include "engine/layer_runner.h"
#include "engine/model.h"

namespace whittle {

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
  // Steps of at most `max_rows` rows, whose caches have at most `max_context` positions. Throws Error where
  // learned positions do not reach that far.
  Decoder(const Model& model, const Team& team, int64_t max_rows, int64_t max_context);

  // Bytes of scratch memory that such a decoder takes once every row and position has been used, and logits
  // of `logit_rows` rows have been asked for.
  static int64_t scratch_bytes(const ModelSpec& spec, const std::vector<int64_t>& group_sizes, int threads,
                               int64_t max_rows, int64_t max_context, int64_t logit_rows);

  // Writes every row's keys and values to its cache; returns the logits after the last `logit_rows` rows,
  // which stay until the next step. A row's logits are the same bits whatever other rows go with it, and for
  // any number of threads. Throws Error, which names the first layer where it began, when logits are not
  // finite.
  Logits step(std::span<const DecoderRow> rows, int64_t logit_rows);

  const Model& model() const { return model_; }
  int64_t max_rows() const { return runner_.max_rows(); }
  int64_t max_context() const { return runner_.max_context(); }
  // Steps are recorded, or shown, there from now on; nullptr: no longer.
  void watch(Profile* profile) { runner_.watch(profile); }
  void observe(const Observer* observer) { runner_.observe(observer); }

 private:
  void prepare(int64_t rows, int64_t logit_rows);
  void run(std::span<const DecoderRow> rows, int64_t logit_rows);
  void embed(const Worker& worker, std::span<const DecoderRow> rows);
  void head(const Worker& worker, int64_t first_row, int64_t rows);
  [[noreturn]] void explain_infinity(std::span<const DecoderRow> rows);

  const Model& model_;
  LayerRunner runner_;
  int64_t vocab_stride_;
  std::set<int64_t> prepared_rows_, prepared_logit_rows_;
  Buffer<float> logits_;  // [rows asked for, vocab_size]
};

}  // namespace whittle
