#pragma once
// One text that is being continued, as a state machine: logits in, an id and text out, until it is done. It
// runs no model: one sequence may be driven by `generate`, many by steps of a batch.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/model_spec.h"
#include "engine/sampler.h"
#include "engine/tokenizer/tokenizer.h"

namespace whittle {

struct GenerationOptions {
  int64_t max_tokens = 256;
  std::vector<std::string> stop;  // the text ends before the first of these
  SamplerOptions sampler;
};

enum class FinishReason : uint8_t { end_of_sequence, stop_text, max_tokens, context_full };
std::string_view name(FinishReason reason);

class Sequence {
 public:
  // tokenizer may be nullptr, then no text is made and `stop` must be empty; else it must outlive this.
  // Throws Error otherwise, and when the prompt is empty or has an id that the model does not have.
  Sequence(const ModelSpec& spec, const Tokenizer* tokenizer, std::span<const int32_t> prompt,
           const GenerationOptions& options);

  // What a step gave: text as it becomes certain (whole UTF-8 characters, and nothing that may yet turn out
  // to be a stop text), and the id to run through the model next; none when the sequence is done.
  struct Step {
    std::string text;
    std::optional<int32_t> next;
  };
  // Takes the logits that follow the prompt, and then those that follow `next`.
  Step push(std::span<const float> logits);
  // Ends it from outside, where there is no room for another token; gives the text that was held back.
  Step end(FinishReason reason);

  bool done() const { return done_; }
  FinishReason finish_reason() const { return finish_reason_; }  // once it is done
  // Generated so far, without the end-of-sequence token.
  std::span<const int32_t> ids() const { return std::span(seen_).subspan(prompt_size_); }
  double sampling_seconds() const { return sampling_seconds_; }

 private:
  std::string hold_back(std::string_view text);

  GenerationOptions options_;
  std::vector<int32_t> ends_;
  Sampler sampler_;
  std::optional<Tokenizer::Stream> stream_;
  std::vector<int32_t> seen_;  // the prompt and what followed
  size_t prompt_size_;
  std::string held_;  // its end may be the beginning of a stop text
  bool done_ = false, stopped_ = false;
  FinishReason finish_reason_ = FinishReason::max_tokens;
  double sampling_seconds_ = 0;
};

}  // namespace whittle
