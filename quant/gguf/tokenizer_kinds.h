#pragma once
// The kinds of tokenizers that GGUF has names for, recognized in a model's files.

#include <filesystem>
#include <string>
#include <vector>

#include "engine/tokenizer/vocabulary.h"

namespace whittle {

struct GgufToken {
  enum class Type : int32_t { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };
  std::string text;
  Type type = Type::normal;
  float score = 0;  // of two pairs of neighbours, the one whose token has the higher score merges first
};

struct GgufTokenizer {
  std::string model;  // "gpt2" or "llama"
  std::string pre;
  std::vector<GgufToken> tokens;    // by id
  std::vector<std::string> merges;  // "left right"; gpt2 only
  bool add_space_prefix = false;    // llama only

  void add_unused();
};

// Each throws Error that names the file, for what malformed content it meets and for a kind that has no name.
// `vocabulary` is that of the file.
GgufTokenizer gguf_tokenizer_of_json(const std::filesystem::path& file, const Vocabulary& vocabulary);
GgufTokenizer gguf_tokenizer_of_sentencepiece(const std::filesystem::path& file);

}  // namespace whittle
