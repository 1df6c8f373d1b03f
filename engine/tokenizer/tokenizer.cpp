#include "engine/tokenizer/tokenizer.h"

#include <utility>

#include "engine/tokenizer/parts.h"
#include "engine/tokenizer/regex.h"
#include "engine/tokenizer/unicode.h"
#include "kernels/error.h"

namespace whittle {

struct Tokenizer::Impl {
  TokenizerParts parts;

  void append(int32_t id, bool special, std::vector<DecodedToken>& tokens) const {
    const Token* token = parts.vocabulary->token(id);
    if (token && (special || !token->special)) tokens.push_back({*token->text, token->added});
  }
};

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

Tokenizer Tokenizer::open(const std::filesystem::path& folder) {
  const TokenizerConfig config = TokenizerConfig::read(folder);
  const auto has = [&](const char* name) { return std::filesystem::exists(folder / name); };
  auto impl = std::make_unique<Impl>();
  if (has("tokenizer.json")) {
    impl->parts = read_tokenizer_json(folder / "tokenizer.json", config);
  } else if (has("tokenizer.model")) {
    impl->parts = read_sentencepiece_model(folder / "tokenizer.model", config);
  } else if (has("vocab.json") && has("merges.txt")) {
    impl->parts = read_gpt2_files(folder / "vocab.json", folder / "merges.txt", config);
  } else {
    fail("{}: no tokenizer.json, tokenizer.model, or vocab.json with merges.txt", folder.string());
  }
  return Tokenizer(std::move(impl));
}

std::optional<Tokenizer> Tokenizer::open_if_any(const std::filesystem::path& folder) {
  for (const char* file : {"tokenizer.json", "tokenizer.model", "vocab.json"})
    if (std::filesystem::exists(folder / file)) return open(folder);
  return std::nullopt;
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool special) const {
  if (text.size() > max_text_bytes)
    fail("a text of {} bytes, expected at most {}", text.size(), max_text_bytes);
  const TokenizerParts& parts = impl_->parts;
  std::vector<int32_t> ids;
  if (special) ids = parts.before;
  if (is_valid_utf8(text)) {
    parts.encoder->encode(text, ids);
  } else {
    parts.encoder->encode(replace_invalid_bytes(text), ids);
  }
  if (special) ids.insert(ids.end(), parts.after.begin(), parts.after.end());
  return ids;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool special) const {
  std::vector<DecodedToken> tokens;
  tokens.reserve(ids.size());
  for (const int32_t id : ids) impl_->append(id, special, tokens);
  return TokenDecoder(impl_->parts.decoder).apply(std::move(tokens), true);
}

int64_t Tokenizer::vocab_size() const { return impl_->parts.vocabulary->size(); }

std::optional<int32_t> Tokenizer::bos_token_id() const {
  const std::vector<int32_t>& before = impl_->parts.before;
  return before.empty() ? std::nullopt : std::optional(before.front());
}

std::optional<int32_t> Tokenizer::token_id(std::string_view token) const {
  return impl_->parts.vocabulary->find(token);
}

// The same steps as decode's, which keep what is not certain yet: both always agree.
struct Tokenizer::Stream::State {
  const Impl* tokenizer;
  TokenDecoder decoder = tokenizer->parts.decoder;
};

Tokenizer::Stream::Stream(const Tokenizer& tokenizer)
    : state_(std::make_unique<State>(State{tokenizer.impl_.get()})) {}
Tokenizer::Stream::~Stream() = default;
Tokenizer::Stream::Stream(Stream&&) noexcept = default;
Tokenizer::Stream& Tokenizer::Stream::operator=(Stream&&) noexcept = default;

std::string Tokenizer::Stream::push(int32_t id) {
  std::vector<DecodedToken> tokens;
  state_->tokenizer->append(id, false, tokens);
  return state_->decoder.apply(std::move(tokens), false);
}

std::string Tokenizer::Stream::finish() {
  std::string rest = state_->decoder.apply({}, true);
  state_->decoder = state_->tokenizer->parts.decoder;
  return rest;
}

}  // namespace whittle
