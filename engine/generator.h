#pragma once
// Text from a prompt: prefill, then token by token until an end.

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engine/sequence.h"
#include "engine/session.h"

namespace whittle {

struct Generation {
  std::vector<int32_t> ids;  // generated, without the end-of-sequence token
  std::string text;          // empty without a tokenizer
  FinishReason finish_reason = FinishReason::max_tokens;
  double prefill_seconds = 0, decode_seconds = 0, sampling_seconds = 0;
};

// Gives text as it becomes certain.
using TextSink = std::function<void(std::string_view)>;

// Continues `session` with `prompt`. tokenizer may be nullptr: then no text is made and `stop` must be empty.
// Throws Error when the prompt is empty or does not fit.
Generation generate(Session& session, const Model& model, const Tokenizer* tokenizer,
                    std::span<const int32_t> prompt, const GenerationOptions& options, const TextSink& sink);

}  // namespace whittle
