#include "bench/soak/conversations.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "bench/prompt.h"

namespace whittle {
namespace {

struct Kind {
  const char* sampler_text;
  int64_t prompt_tokens, answer_tokens;
  SamplerOptions sampler;
};

const Kind kinds[] = {
    {"greedy", 8, 24, {}},
    {"temperature 0.8, top-p 0.95", 32, 48, {.temperature = 0.8f, .top_p = 0.95f, .seed = 1}},
    {"greedy", 96, 64, {}},
    {"temperature 1, top-k 40", 160, 32, {.temperature = 1, .top_k = 40, .seed = 2}},
    {"temperature 0.7, min-p 0.05, penalty 1.1",
     64,
     96,
     {.temperature = 0.7f, .min_p = 0.05f, .repetition_penalty = 1.1f, .seed = 3}},
    {"greedy", 320, 16, {}},
};
constexpr int64_t longest = 336;

}  // namespace

std::vector<Conversation> soak_conversations(const ModelSpec& spec, const Tokenizer* tokenizer) {
  const int64_t room = std::min(spec.max_position_embeddings, longest);
  const auto fitted = [&](int64_t tokens) { return std::max<int64_t>(1, tokens * room / longest); };
  // Every prompt begins elsewhere in the same text.
  constexpr int64_t shift = 11;
  const Prompt text = make_prompt(spec, tokenizer, longest + shift * std::ssize(kinds));
  std::vector<Conversation> conversations;
  for (const Kind& kind : kinds) {
    Conversation out;
    const auto begin = text.ids.begin() + shift * std::ssize(conversations);
    out.prompt.assign(begin, begin + fitted(kind.prompt_tokens));
    out.answer_tokens = std::max<int64_t>(
        1, std::min(fitted(kind.answer_tokens), spec.max_position_embeddings - std::ssize(out.prompt)));
    out.sampler = kind.sampler;
    out.kind = fmt::format("{}, {} + {} tokens", kind.sampler_text, out.prompt.size(), out.answer_tokens);
    conversations.push_back(std::move(out));
  }
  return conversations;
}

uint64_t hash_logits(std::span<const float> logits, uint64_t hash) {
  for (const float logit : logits) hash = (hash ^ std::bit_cast<uint32_t>(logit)) * 0x100000001b3u;
  return hash;
}

}  // namespace whittle
