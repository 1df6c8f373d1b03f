#pragma once
// The `pre_tokenizer` of tokenizer.json: cuts a text into the words that merges never cross.

#include <functional>
#include <string>
#include <vector>

#include "engine/files/json_file.h"
#include "engine/tokenizer/regex.h"

namespace whittle {

// Words are spans of a text, in order; what lies between them is dropped.
struct Words {
  std::string text;
  std::vector<TextSpan> spans;
  bool starts_input = false;  // text.begin() is where the whole input begins
};

class PreTokenizer {
 public:
  PreTokenizer() = default;  // the whole text is one word
  // Split, ByteLevel, Digits, Punctuation, Whitespace, WhitespaceSplit, CharDelimiterSplit, Metaspace and
  // Sequence. Throws Error.
  explicit PreTokenizer(const JsonFields& fields);
  // GPT-2's own.
  static PreTokenizer gpt2();

  void apply(Words& words) const;
  bool byte_level() const { return byte_level_; }  // the model is to see bytes, and not characters

 private:
  using Step = std::function<void(Words& words)>;
  void add(const JsonFields& fields);
  void add_byte_level(bool add_prefix_space, bool use_regex);

  std::vector<Step> steps_;
  bool byte_level_ = false;
};

}  // namespace whittle
