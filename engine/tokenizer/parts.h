#pragma once
// What each kind of tokenizer file is read into.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "engine/files/json_file.h"
#include "engine/tokenizer/token_decoder.h"
#include "engine/tokenizer/vocabulary.h"

namespace whittle {

class TextEncoder {
 public:
  virtual ~TextEncoder() = default;
  // Appends the ids of a valid UTF-8 text of at most max_text_bytes, nothing around it. Safe from many
  // threads.
  virtual void encode(std::string_view text, std::vector<int32_t>& ids) const = 0;
};

struct TokenizerParts {
  std::shared_ptr<const Vocabulary> vocabulary;
  std::unique_ptr<const TextEncoder> encoder;
  TokenDecoder decoder;
  std::vector<int32_t> before, after;  // put around a text
};

// tokenizer_config.json, or nothing where there is none.
struct TokenizerConfig {
  std::string file;  // for messages
  nlohmann::json content = nlohmann::json::object();

  static TokenizerConfig read(const std::filesystem::path& folder);
  // The text of "bos_token" and the like, which is written as a string or as an added token.
  std::optional<std::string> special_token(const char* field) const;
  // Puts the ids of BOS and EOS around texts as add_bos_token and add_eos_token say. `bos` and `eos` are the
  // model's own, where the config names none.
  void add_bos_and_eos(bool add_bos_by_default, std::optional<int32_t> bos, std::optional<int32_t> eos,
                       TokenizerParts& parts) const;
};

// Each throws Error that names file and field.
TokenizerParts read_tokenizer_json(const std::filesystem::path& file, const TokenizerConfig& config);
TokenizerParts read_gpt2_files(const std::filesystem::path& vocab_file,
                               const std::filesystem::path& merges_file, const TokenizerConfig& config);
TokenizerParts read_sentencepiece_model(const std::filesystem::path& file, const TokenizerConfig& config);

inline constexpr int64_t max_tokenizer_bytes = 128 << 20;
std::string read_tokenizer_file(const std::filesystem::path& file);  // at most max_tokenizer_bytes

}  // namespace whittle
