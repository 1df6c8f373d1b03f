#pragma once
// A text through all stages of a BPE tokenizer: added tokens, normalizer, pre-tokenizer, merges.

#include "engine/tokenizer/added_tokens.h"
#include "engine/tokenizer/bpe.h"
#include "engine/tokenizer/normalizer.h"
#include "engine/tokenizer/parts.h"
#include "engine/tokenizer/pretokenizer.h"

namespace whittle {

class BpeEncoder : public TextEncoder {
 public:
  BpeEncoder(std::vector<AddedToken> added, Normalizer normalizer, PreTokenizer pretokenizer, Bpe bpe);
  void encode(std::string_view text, std::vector<int32_t>& ids) const override;

 private:
  AddedTokenMatcher in_text_, in_normalized_text_;
  Normalizer normalizer_;
  PreTokenizer pretokenizer_;
  Bpe bpe_;
};

}  // namespace whittle
