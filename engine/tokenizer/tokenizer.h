#pragma once
// Text to token ids and back, as the model's own tokenizer files say.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace whittle {

class Tokenizer {
 public:
  // `folder` holds tokenizer.json (BPE, byte-level or sentencepiece-style), or tokenizer.model
  // (sentencepiece), or vocab.json + merges.txt (GPT-2); tokenizer_config.json beside it may say which
  // special tokens are added. Throws Error that names the file and the field for anything malformed and for
  // any component that we do not implement.
  static Tokenizer open(const std::filesystem::path& folder);
  // Nothing for a folder without any tokenizer file; one that cannot be read is an Error.
  static std::optional<Tokenizer> open_if_any(const std::filesystem::path& folder);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  // `special`: surround the text with what the post-processor adds (BOS, EOS). Added tokens written out in
  // the text
  // ("<|endoftext|>") become their ids either way, but control tokens of a tokenizer.model never do. Bytes
  // that are not UTF-8 are encoded like U+FFFD. Texts of at most 256 MiB; safe to call from many threads.
  std::vector<int32_t> encode(std::string_view text, bool special = true) const;

  // `special`: keep special tokens as text; otherwise they are left out. Ids that are no token are left out
  // too: a model's logits may be padded beyond its vocabulary.
  std::string decode(std::span<const int32_t> ids, bool special = false) const;

  int64_t vocab_size() const;                   // ids are below this
  std::optional<int32_t> bos_token_id() const;  // what encode(special) puts first, if anything
  std::optional<int32_t> token_id(std::string_view token) const;  // the id of an exact token

  // Decodes a stream of tokens: each push returns the text that became complete, never half a UTF-8 character
  // and never anything that a later token would change; finish returns what is left (U+FFFD for an unfinished
  // character), and makes ready for a new text. All of it together is decode of all ids. The tokenizer must
  // outlive the stream.
  class Stream {
   public:
    explicit Stream(const Tokenizer& tokenizer);
    ~Stream();
    Stream(Stream&&) noexcept;
    Stream& operator=(Stream&&) noexcept;
    std::string push(int32_t id);
    std::string finish();

   private:
    struct State;
    std::unique_ptr<State> state_;
  };

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace whittle
