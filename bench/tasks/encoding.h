#pragma once
// Items as token ids, cut where lm-evaluation-harness (Gao et al., 2021) cuts them.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bench/tasks/task.h"
#include "engine/model_spec.h"
#include "engine/tokenizer/tokenizer.h"

namespace whittle {

struct EncodedContinuation {
  std::vector<int32_t> ids;    // never empty
  int64_t context_tokens = 0;  // it follows so many of the context's, 1 or more
};

struct EncodedItem {
  std::vector<int32_t> context;                    // begins with BOS where the tokenizer has one; never empty
  std::vector<EncodedContinuation> continuations;  // one a choice
};

// White space at the end of the context moves to the continuation. Both are encoded as one text, and the
// continuation is what stands after as many ids as the context alone has. Where a token reaches over the end
// of the context, nothing may be left there (lm-evaluation-harness then stops): such a continuation begins
// where the ids of both texts part. An empty context is BOS, or the end of a sequence where there is none.
// Throws Error that begins with `what`, also for ids that the model does not have.
EncodedItem encode_item(const Tokenizer& tokenizer, const ModelSpec& spec, std::string_view context,
                        const std::vector<std::string>& continuations, const std::string& what);

// What a model is asked: the log likelihoods of tokens[first_scored] and all after it. All but the last are
// its input.
struct TokenQuery {
  std::vector<int32_t> tokens;
  int64_t first_scored = 0;
  int64_t cut = 0;  // tokens of the context that did not fit

  std::vector<int32_t> input() const { return {tokens.begin(), tokens.end() - 1}; }
};

// What does not fit `context` positions is left out from the left, BOS included. Throws Error that begins
// with `what` where the continuation alone does not fit.
TokenQuery make_query(const EncodedItem& item, size_t choice, int64_t context, const std::string& what);

}  // namespace whittle
