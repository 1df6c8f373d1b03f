#pragma once
// What is said in a soak: some kinds of conversation, each always the same.

#include <cstdint>
#include <string>
#include <vector>

#include "engine/model_spec.h"
#include "engine/sampler.h"
#include "engine/tokenizer/tokenizer.h"

namespace whittle {

struct Conversation {
  std::string kind;  // "greedy, 96 + 64 tokens"
  std::vector<int32_t> prompt;
  int64_t answer_tokens = 0;
  SamplerOptions sampler;

  int64_t positions() const { return static_cast<int64_t>(prompt.size()) + answer_tokens; }
};

// Short and long prompts and answers, the most likely tokens and drawn ones; shorter where the model's
// context is. Throws Error where the tokenizer gives an id that the model does not have.
std::vector<Conversation> soak_conversations(const ModelSpec& spec, const Tokenizer* tokenizer);

// What a model said, and how it came to that.
struct Answer {
  std::vector<int32_t> ids;
  uint64_t logits_hash = 0;  // of the bits of the logits behind every one of them

  bool operator==(const Answer&) const = default;
};

// FNV-1a over 32-bit words: `hash` goes on with the bits of these.
inline constexpr uint64_t hash_of_no_logits = 0xcbf29ce484222325u;
uint64_t hash_logits(std::span<const float> logits, uint64_t hash);

}  // namespace whittle
