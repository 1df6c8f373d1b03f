#include "bench/prompt.h"

#include <iterator>
#include <random>
#include <string_view>

#include "engine/tokenizer/token_ids.h"
#include "kernels/error.h"

namespace whittle {
namespace {

constexpr std::string_view vocabulary[] = {
    "the",     "river",  "and",   "a",     "house",   "of",     "stone", "was",   "old",   "in",
    "morning", "light",  "she",   "said",  "that",    "it",     "would", "rain",  "on",    "green",
    "hills",   "before", "we",    "came",  "home",    "with",   "apple", "bread", "to",    "sell",
    "at",      "market", "where", "every", "window",  "looked", "over",  "water", "boats", "slept",
    "there",   "until",  "night", "fell",  "quietly", "again",
};

std::string words(int64_t count) {
  std::mt19937_64 random(1);
  std::string text;
  for (int64_t i = 0; i < count; ++i) {
    if (i) text += i % 12 ? " " : ". ";
    text += vocabulary[random() % std::size(vocabulary)];
  }
  return text;
}

}  // namespace

Prompt make_prompt(const ModelSpec& spec, const Tokenizer* tokenizer, int64_t tokens) {
  Prompt prompt;
  if (!tokenizer) {
    std::mt19937_64 random(1);
    for (int64_t i = 0; i < tokens; ++i)
      prompt.ids.push_back(static_cast<int32_t>(random() % static_cast<uint64_t>(spec.vocab_size)));
    return prompt;
  }
  const auto enough = [&](int64_t count) {
    return static_cast<int64_t>(tokenizer->encode(words(count)).size()) >= tokens;
  };
  int64_t few = 0, many = 1;
  for (; !enough(many); many *= 2) {
    if (many > 16 * tokens) fail("tokenizer: {} English words are fewer than {} tokens", many, tokens);
    few = many;
  }
  while (many - few > 1) {
    const int64_t middle = few + (many - few) / 2;
    (enough(middle) ? many : few) = middle;
  }
  prompt.text = words(many);
  prompt.ids = tokenizer->encode(prompt.text);
  prompt.ids.resize(static_cast<size_t>(tokens));
  check_token_ids(prompt.ids, spec.vocab_size, "the prompt that is measured");
  return prompt;
}

}  // namespace whittle
