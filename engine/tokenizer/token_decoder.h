#pragma once
// The `decoder` of tokenizer.json: the texts of tokens to readable text, all at once or token by token.

#include <functional>
#include <string>
#include <vector>

#include "engine/files/json_file.h"

namespace whittle {

struct DecodedToken {
  std::string text;    // valid UTF-8
  bool added = false;  // text as it is, not in the byte-level alphabet
};

// A chain of steps with a memory of the tokens before; a copy of a fresh one starts anew.
class TokenDecoder {
 public:
  TokenDecoder();  // joins tokens with spaces, as where the file names no decoder
  // ByteLevel, ByteFallback, Fuse, Metaspace, Replace, Strip and Sequence; after ByteLevel or Fuse only
  // Strip. Throws Error.
  explicit TokenDecoder(const JsonFields& fields);
  static TokenDecoder byte_level();

  // The rules of sentencepiece itself.
  struct SentencePieceRules {
    std::string unknown, unknown_surface;  // a piece and what it is shown as
    bool strips_first_space = true;
    bool strips_all_leading_spaces = false;
  };
  static TokenDecoder sentencepiece(const SentencePieceRules& rules);

  // The text that the next tokens make certain: valid UTF-8. The way tokens are cut into calls never changes
  // the whole.
  std::string apply(std::vector<DecodedToken> tokens, bool last);

 private:
  using Tokens = std::vector<DecodedToken>;
  using Step = std::function<void(Tokens& tokens, bool last)>;  // holds back what later tokens may change
  struct Empty {};
  explicit TokenDecoder(Empty) {}
  void add(const JsonFields& fields);

  std::vector<Step> steps_;
  bool fused_ = false;  // so far all tokens have become one, of which each call sees the next part
};

}  // namespace whittle
