#pragma once
// What a model says of encoded items: log likelihoods of continuations, and greedy text.

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "bench/tasks/encoding.h"
#include "bench/tasks/shared_prefix.h"
#include "engine/tokenizer/tokenizer.h"

namespace whittle {

// Of a continuation.
struct ContinuationScore {
  double log_likelihood = 0;  // natural, the sum over its tokens
  bool greedy = true;         // each of its tokens is the most likely one (of equal ones, the smallest id)
};

using ItemDone = std::function<void()>;  // called after each item, in any order

// All choices of `count` items: queries(i) gives those of item i, one a choice, when its turn comes. What
// they share is run once, and a token that two of them have in the same place is scored once. Every input
// must fit the batch's context.
std::vector<std::vector<ContinuationScore>> score_choices(
    SharedPrefixBatch& batch, size_t count, const std::function<std::vector<TokenQuery>(size_t)>& queries,
    const ItemDone& done);

struct TextQuery {
  std::vector<int32_t> prompt;
  int64_t max_tokens = 1;  // prompt and these, less one, must fit the batch's context
};

// The line that greedy decoding writes after each prompt: up to a newline, the end of the sequence or
// max_tokens.
std::vector<std::string> greedy_lines(SharedPrefixBatch& batch, const ModelSpec& spec,
                                      const Tokenizer& tokenizer, std::span<const TextQuery> queries,
                                      const ItemDone& done);

}  // namespace whittle
