#pragma once
// Windows of tokens to measure drift on: a text cut into pieces, or ids that somebody else has cut.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tokenizer/tokenizer.h"

namespace whittle {

// Each window is run by itself, and predicts all of its tokens but the first.
struct Windows {
  std::vector<std::vector<int32_t>> ids;
  int64_t first_scored = 1;  // index of the first token of a window whose prediction counts
  int64_t context = 0;       // ids of a full window
  std::string protocol;      // its name, with " without BOS" or " by STRIDE" where that holds; "token ids"
  std::vector<int64_t> seen = {};  // of each window, how many tokens an earlier one has scored; empty: none

  // The index of the first token of this window whose prediction counts.
  int64_t first_scored_of(size_t window) const;
  int64_t scored(size_t window) const { return std::ssize(ids[window]) - first_scored_of(window); }
};

// A way of cutting and scoring a text that the literature has. The text is tokenized as one string.
struct Protocol {
  std::string_view name;
  std::string_view summary;  // one line, for help
  enum class Start : uint8_t {
    every_window,  // BOS before each piece of context − 1 tokens, if the tokenizer has one
    replaced,      // BOS before the text and instead of the first token of each window, if there is one
    text           // what the tokenizer puts around a text, and nothing more
  } start;
  bool second_half;         // the first half of a window is context alone
  bool overlaps;            // windows begin `stride` tokens apart, and the last one may be shorter
  int64_t default_context;  // as in the literature
};

// windows      Whittle's own: every token of the text is scored, each window begins as a text does.
// llama.cpp    as its perplexity tool does.
// gptq         as the code of GPTQ does (Frantar et al., arXiv:2210.17323) and, after it, that of SparseGPT,
//              AWQ and most papers on quantization: pieces of `context` tokens, scored from the second on.
// strided      as Hugging Face's page "Perplexity of fixed-length models" does: overlapping windows, each
//              token scored once, with at least context − stride tokens before it; the last window ends with
//              the text. Every token weighs the same, which is what that page means; its code, as it is
//              today, weighs a window of n tokens by n − 1.
// A last partial window is dropped, but for `strided`.
std::span<const Protocol> protocols();
// Throws OptionError "protocol".
const Protocol& protocol_named(std::string_view name);

// The first `count` characters (code points) of UTF-8 text.
std::string first_characters(const std::string& text, int64_t count);

// 512, the literature's; half of a context that is not longer than that.
int64_t default_stride(int64_t context);

// stride: of a protocol that overlaps; 0: default_stride. Throws Error when the protocol is unknown, a window
// of this context has nothing to score, the stride leaves tokens out, or the text is shorter than one window
// (of `strided`: than two tokens).
Windows text_windows(const Tokenizer& tokenizer, std::string_view text, int64_t context,
                     std::string_view protocol, int64_t stride = 0);
// A JSON array of windows, each an array of ids that begins with its BOS; every id after the first is scored.
Windows token_windows(const nlohmann::json& windows, const std::string& what);

// A hash (XXH3 of 128 bits) of how long they are and of all ids.
std::string hash_of_windows(const std::vector<std::vector<int32_t>>& windows);

int64_t tokens_of(const std::vector<std::vector<int32_t>>& windows);

// Bytes of text that the scored tokens stand for.
int64_t bytes_scored(const Windows& windows, const Tokenizer& tokenizer);

// Throws Error unless there are windows, each has a token to score, and all ids are below `vocab_size`. It
// names window, position and id.
void check_windows(const Windows& windows, int64_t vocab_size);

}  // namespace whittle
