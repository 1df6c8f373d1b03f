#pragma once
// Text from a prompt: prefill, then token by token until an end.

#include <chrono>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engine/sampler.h"
#include "engine/session.h"
#include "engine/tokenizer/tokenizer.h"

namespace whittle {

struct GenerationOptions {
  int64_t max_tokens = 256;
  std::vector<std::string> stop;  // the text ends before the first of these
  SamplerOptions sampler;
};

enum class FinishReason : uint8_t { end_of_sequence, stop_text, max_tokens, context_full };
std::string_view name(FinishReason reason);

struct Generation {
  std::vector<int32_t> ids;  // generated, without the end-of-sequence token
  std::string text;          // empty without a tokenizer
  FinishReason finish_reason = FinishReason::max_tokens;
  double prefill_seconds = 0, decode_seconds = 0, sampling_seconds = 0;
};

// Gives text as it becomes certain: whole UTF-8 characters, and nothing that may yet turn out to be a stop
// text.
using TextSink = std::function<void(std::string_view)>;

// Continues `session` with `prompt`. tokenizer may be nullptr: then no text is made and `stop` must be empty.
// Throws Error when the prompt is empty, does not fit, or holds an id that is not in the vocabulary.
Generation generate(Session& session, const Model& model, const Tokenizer* tokenizer,
                    std::span<const int32_t> prompt, const GenerationOptions& options, const TextSink& sink);

}  // namespace whittle
