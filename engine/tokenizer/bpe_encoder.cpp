#include "engine/tokenizer/bpe_encoder.h"

#include <utility>

namespace whittle {

namespace {

// Those that are looked for in the text as it is, or in the normalized text, where they stand normalized
// themselves.
std::vector<AddedToken> select(std::vector<AddedToken> tokens, const Normalizer* normalizer) {
  std::erase_if(tokens, [&](const AddedToken& token) { return token.normalized != (normalizer != nullptr); });
  if (normalizer) {
    for (AddedToken& token : tokens) token.content = normalizer->apply(token.content);
  }
  return tokens;
}

}  // namespace

BpeEncoder::BpeEncoder(std::vector<AddedToken> added, Normalizer normalizer, PreTokenizer pretokenizer,
                       Bpe bpe)
    : in_text_(select(added, nullptr)),
      in_normalized_text_(select(added, &normalizer)),
      normalizer_(std::move(normalizer)),
      pretokenizer_(std::move(pretokenizer)),
      bpe_(std::move(bpe)) {}

void BpeEncoder::encode(std::string_view text, std::vector<int32_t>& ids) const {
  Bpe::Scratch scratch;
  for (const auto& piece : in_text_.split(text)) {
    if (piece.id >= 0) {
      ids.push_back(piece.id);
      continue;
    }
    const std::string normalized = normalizer_.apply(std::string(piece.text));
    for (const auto& part : in_normalized_text_.split(normalized)) {
      if (part.id >= 0) {
        ids.push_back(part.id);
        continue;
      }
      const bool starts_input = piece.text.data() == text.data() && part.text.data() == normalized.data();
      Words words{std::string(part.text), {{0, part.text.size()}}, starts_input};
      pretokenizer_.apply(words);
      for (const TextSpan& span : words.spans) {
        bpe_.encode(std::string_view(words.text).substr(span.begin, span.end - span.begin), ids, scratch);
      }
    }
  }
}

}  // namespace whittle
