#include "engine/sequence.h"

#include <algorithm>

#include "engine/clock.h"
#include "engine/tokenizer/token_ids.h"
#include "kernels/option_error.h"

namespace whittle {

std::string_view name(FinishReason reason) {
  constexpr std::string_view names[] = {"end of sequence", "stop text", "max tokens", "context full"};
  return names[static_cast<size_t>(reason)];
}

Sequence::Sequence(const ModelSpec& spec, const Tokenizer* tokenizer, std::span<const int32_t> prompt,
                   const GenerationOptions& options)
    : options_(options),
      ends_(spec.eos_token_ids),
      sampler_(options.sampler),
      seen_(prompt.begin(), prompt.end()),
      prompt_size_(prompt.size()),
      done_(options.max_tokens <= 0) {
  if (prompt.empty()) fail("the prompt is empty");
  check_token_ids(prompt, spec.vocab_size, "the prompt");
  if (std::ranges::any_of(options.stop, &std::string::empty))
    fail_option("stop", "expected texts, found an empty one");
  if (!tokenizer && !options.stop.empty()) fail_option("stop", "there is no tokenizer to find texts with");
  if (tokenizer) stream_.emplace(*tokenizer);
}

Sequence::Step Sequence::push(std::span<const float> logits) {
  const auto start = Clock::now();
  const int32_t id = sampler_.sample(logits, seen_);
  sampling_seconds_ += seconds_since(start);
  if (std::ranges::find(ends_, id) != ends_.end()) return end(FinishReason::end_of_sequence);
  seen_.push_back(id);
  Step step;
  if (stream_) step.text = hold_back(stream_->push(id));
  if (stopped_ || static_cast<int64_t>(ids().size()) >= options_.max_tokens) {
    step.text += end(FinishReason::max_tokens).text;
    return step;
  }
  step.next = id;
  return step;
}

Sequence::Step Sequence::end(FinishReason reason) {
  Step step;
  if (stream_ && !stopped_) step.text = hold_back(stream_->finish());
  finish_reason_ = stopped_ ? FinishReason::stop_text : reason;
  done_ = true;
  if (!stopped_) step.text += std::exchange(held_, {});
  return step;
}

// What of the text so far can no longer become part of a stop text.
std::string Sequence::hold_back(std::string_view text) {
  held_ += text;
  size_t cut = std::string::npos, keep = 0;
  for (const std::string& stop : options_.stop) {
    cut = std::min(cut, held_.find(stop));
    for (size_t length = std::min(stop.size() - 1, held_.size()); length > keep; --length)
      if (std::string_view(held_).ends_with(std::string_view(stop).substr(0, length))) keep = length;
  }
  stopped_ = cut != std::string::npos;
  const size_t count = stopped_ ? cut : held_.size() - keep;
  const std::string certain = held_.substr(0, count);
  held_.erase(0, count);
  return certain;
}

}  // namespace whittle
