#pragma once
// Windows of tokens to measure drift on: a text cut into pieces, or ids that somebody else has cut.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tokenizer/tokenizer.h"

namespace whittle {

// Each window is run by itself; `first_scored` is the index of the first of its tokens whose prediction
// counts.
struct Windows {
  std::vector<std::vector<int32_t>> ids;
  int64_t first_scored = 1;
  int64_t context = 0;   // ids of a full window
  std::string protocol;  // "windows" or "llama.cpp", with " without BOS" where there is none; "token ids"
};

// The first `count` characters (code points) of UTF-8 text.
std::string first_characters(const std::string& text, int64_t count);

// The protocols of text_windows().
std::vector<std::string> protocol_names();

// The text is tokenized as one string; a last partial piece is dropped.
// "windows": consecutive pieces of context − 1 tokens with BOS before each, or of `context` tokens where the
// tokenizer has no BOS; every token after the first of a window is scored.
// "llama.cpp": pieces of `context` tokens of the text with BOS, the first token of each replaced by BOS where
// there is one; the second half of each is scored, as llama.cpp's perplexity tool does.
// Throws Error when the protocol is unknown, a window of this context has nothing to score, or the text is
// shorter than one window.
Windows text_windows(const Tokenizer& tokenizer, std::string_view text, int64_t context,
                     std::string_view protocol);
// A JSON array of windows, each an array of ids that begins with its BOS; every id after the first is scored.
Windows token_windows(const nlohmann::json& windows, const std::string& what);

// A hash (XXH3 of 128 bits) of how long they are and of all ids.
std::string hash_of_windows(const std::vector<std::vector<int32_t>>& windows);

int64_t tokens_of(const std::vector<std::vector<int32_t>>& windows);

// Throws Error unless there are windows, each has a token to score, and all ids are below `vocab_size`. It
// names window, position and id.
void check_windows(const Windows& windows, int64_t vocab_size);

}  // namespace whittle
