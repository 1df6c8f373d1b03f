#pragma once
// What a baseline predicts of some texts, on disk: models are then judged without running it again.
//
// One safetensors file. Its metadata has one field, "whittle.baseline", a JSON object:
//
//   version         1
//   program         version of the program that wrote it
//   vocab_size      of the baseline
//   top             tokens kept at each position; vocab_size: all
//   tokenizer       what its ids stand for, hashed; null where ids were given
//   baseline        name, weights, config: the folder's own name, hashes of weight files and config.json
//   texts           array: name, hash (of the text, or of the ids that were given), bytes_scored (0:
//   unknown),
//                   context and protocol (windows.h)
//
// Its tensors, for each text, T being its number from 0 on, W its windows, N their ids, S those scored:
//
//   T.ids           I32 [N]       of all windows, one after the other
//   T.lengths       I32 [W]       ids of each
//   T.first_scored  I32 [W]       in each window, the index of the first token that counts
//   T.codes         U16 [S, top]  log probabilities: −scale · code (stored_prediction.h)
//   T.indices       I32 [S, top]  their tokens; absent where all are kept
//   T.scale         F32 [S]
//   T.rest          F64 [S]       probability of all tokens that were not kept
//   T.target        F64 [S]       log probability of the true token
//   T.top           I32 [S]       the most likely token
//
// That is 2 bytes for each token of the vocabulary, or 6 for each that is kept, and 24, at each position.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>

#include "bench/drift/drift_position.h"
#include "bench/drift/drift_text.h"
#include "engine/files/safetensors_writer.h"
#include "engine/model_spec.h"

namespace whittle {

inline constexpr const char* baseline_field = "whittle.baseline";
inline constexpr int64_t baseline_version = 1;

// The tensors of a text, by its number; top: tokens kept.
std::vector<TensorInfo> baseline_tensors(size_t number, const Windows& windows, int64_t top, bool all);

class BaselineFile {
 public:
  // Checks all but codes and indices, which compare() does. Throws Error that names the file and the field or
  // tensor.
  explicit BaselineFile(const std::filesystem::path& path);
  ~BaselineFile();

  const std::filesystem::path& path() const;
  int64_t vocab_size() const;
  int64_t top() const;
  std::span<const DriftText> texts() const;
  const nlohmann::json& baseline() const;  // model_identity of it

  // Throws Error, naming the field, unless a model has this vocabulary and, where both are known, this
  // tokenizer.
  void check_model(const std::filesystem::path& folder, const ModelSpec& spec) const;
  // Throws Error, naming the field, unless it is the text of this number.
  void check_text(size_t number, const std::string& name, const std::string& text) const;

  // The baseline beside a model's logits, at one token of a window that counts. Throws Error that names file
  // and tensor for stored values that cannot be. For any thread.
  DriftPosition compare(size_t text, size_t window, int64_t token, std::span<const float> model) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace whittle
