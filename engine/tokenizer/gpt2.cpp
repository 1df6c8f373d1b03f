// vocab.json and merges.txt, as GPT-2 came: byte-level BPE without a description of its stages.

#include <charconv>
#include <utility>

#include "engine/tokenizer/bpe_encoder.h"
#include "engine/tokenizer/parts.h"
#include "kernels/error.h"

namespace whittle {

namespace {

using nlohmann::json;

void add_vocabulary(const std::filesystem::path& file, Vocabulary& vocabulary) {
  const json content = read_json_file(file, max_tokenizer_bytes);
  const JsonFields fields(content, file.string());
  for (const auto& [text, id] : content.items()) {
    vocabulary.add(text, fields.integer(text.c_str(), 0, Vocabulary::max_size - 1), file.string());
  }
}

void add_merges(const std::filesystem::path& file, Bpe& bpe) {
  const std::string content = read_tokenizer_file(file);
  int64_t number = 0;
  for (std::string_view rest = content; !rest.empty();) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (++number == 1 && line.starts_with("#version")) continue;
    if (line.empty()) continue;
    const size_t space = line.find(' ');
    const std::string where = fmt::format("{}: line {}", file.string(), number);
    if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos) {
      fail("{}: expected two tokens with a space between, found {}", where, quote(line));
    }
    bpe.add_merge(line.substr(0, space), line.substr(space + 1), where);
  }
}

// Special tokens are found in texts: those that tokenizer_config.json lists or names, else GPT-2's one.
std::vector<AddedToken> special_tokens(const TokenizerConfig& config, Vocabulary& vocabulary) {
  std::vector<AddedToken> tokens;
  const auto add = [&](AddedToken token, const std::string& where) {
    vocabulary.mark_added(token.content, token.id, token.special, where);
    tokens.push_back(std::move(token));
  };
  const JsonFields fields(config.content, config.file);
  if (fields.has("added_tokens_decoder")) {
    const JsonFields listed = fields.object("added_tokens_decoder");
    for (const auto& [key, value] : listed.object().items()) {
      int64_t id = -1;
      const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
      if (error != std::errc() || end != key.data() + key.size() || id < 0 || id >= Vocabulary::max_size) {
        fail("{}: expected ids, found {}", listed.what(), quote(key));
      }
      const JsonFields token = listed.object(key.c_str());
      add(parse_added_token(token, id), token.what());
    }
    return tokens;
  }
  for (const char* name : {"bos_token", "eos_token", "unk_token", "pad_token"}) {
    const std::string text = config.special_token(name).value_or("<|endoftext|>");
    const auto id = vocabulary.find(text);
    if (!id && config.special_token(name)) fields.reject(name, quote(text) + " is not in the vocabulary");
    if (id && !vocabulary.token(*id)->added) add({.content = text, .id = *id, .special = true}, config.file);
  }
  return tokens;
}

}  // namespace

TokenizerParts read_gpt2_files(const std::filesystem::path& vocab_file,
                               const std::filesystem::path& merges_file, const TokenizerConfig& config) {
  auto vocabulary = std::make_shared<Vocabulary>();
  add_vocabulary(vocab_file, *vocabulary);
  std::vector<AddedToken> added = special_tokens(config, *vocabulary);
  Bpe bpe(vocabulary, {.byte_level = true, .unknown = {}});
  add_merges(merges_file, bpe);
  TokenizerParts parts{.vocabulary = vocabulary,
                       .encoder = {},
                       .decoder = TokenDecoder::byte_level(),
                       .before = {},
                       .after = {}};
  parts.encoder =
      std::make_unique<BpeEncoder>(std::move(added), Normalizer(), PreTokenizer::gpt2(), std::move(bpe));
  config.add_bos_and_eos(false, {}, {}, parts);
  return parts;
}

}  // namespace whittle
