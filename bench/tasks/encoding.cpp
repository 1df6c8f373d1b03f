#include "bench/tasks/encoding.h"

#include <algorithm>

#include "bench/tasks/text_lines.h"
#include "engine/tokenizer/token_ids.h"
#include "kernels/error.h"

namespace whittle {
namespace {

// What an empty context is replaced with.
int32_t first_token(const ModelSpec& spec, const std::string& what) {
  if (spec.bos_token_id >= 0) return spec.bos_token_id;
  if (spec.eos_token_ids.empty()) fail("{}: an empty context, and the model has neither BOS nor EOS", what);
  return spec.eos_token_ids.front();
}

}  // namespace

EncodedItem encode_item(const Tokenizer& tokenizer, const ModelSpec& spec, std::string_view context,
                        const std::vector<std::string>& continuations, const std::string& what) {
  const std::optional<int32_t> bos = tokenizer.bos_token_id();
  const std::string_view words = trimmed_end(context), space = context.substr(words.size());
  EncodedItem item;
  const auto encode = [&](std::string_view text) { return tokenizer.encode(text, false); };
  const std::vector<int32_t> context_ids = encode(words);
  if (bos) item.context.push_back(*bos);
  item.context.insert(item.context.end(), context_ids.begin(), context_ids.end());
  if (item.context.empty()) item.context.push_back(first_token(spec, what));
  check_token_ids(item.context, spec.vocab_size, what);
  const int64_t before = std::ssize(item.context) - std::ssize(context_ids);
  for (const std::string& continuation : continuations) {
    const std::vector<int32_t> whole = encode(fmt::format("{}{}{}", words, space, continuation));
    int64_t begin = std::ssize(context_ids);
    if (begin >= std::ssize(whole))
      begin = std::ranges::mismatch(context_ids, whole).in1 - context_ids.begin();
    const auto& [ids, context_tokens] =
        item.continuations.emplace_back(std::vector(whole.begin() + begin, whole.end()), before + begin);
    if (ids.empty() || context_tokens == 0)
      fail("{}: choice {}: none of its tokens follows one of the context", what,
           item.continuations.size() - 1);
    check_token_ids(ids, spec.vocab_size, what);
  }
  return item;
}

TokenQuery make_query(const EncodedItem& item, size_t choice, int64_t context, const std::string& what) {
  const auto& [continuation, context_tokens] = item.continuations[choice];
  if (std::ssize(continuation) > context)
    fail("{}: choice {}: {} tokens do not fit into a context of {}", what, choice, continuation.size(),
         context);
  TokenQuery query;
  query.tokens.assign(item.context.begin(), item.context.begin() + context_tokens);
  query.tokens.insert(query.tokens.end(), continuation.begin(), continuation.end());
  query.cut = std::max<int64_t>(std::ssize(query.tokens) - (context + 1), 0);  // the last is only predicted
  query.tokens.erase(query.tokens.begin(), query.tokens.begin() + query.cut);
  query.first_scored = std::ssize(query.tokens) - std::ssize(continuation);
  return query;
}

}  // namespace whittle
