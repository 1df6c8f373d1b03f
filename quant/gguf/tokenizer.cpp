#include "quant/gguf/tokenizer.h"

#include <fstream>

#include "engine/tokenizer/parts.h"
#include "kernels/error.h"
#include "quant/gguf/tokenizer_kinds.h"

namespace whittle {

namespace fs = std::filesystem;

namespace {

void add_special_ids(const fs::path& file, const TokenizerParts& parts, const ModelSpec& spec,
                     GgufMetadata& metadata) {
  if (parts.before.size() > 1 || parts.after.size() > 1)
    fail("{}: {} tokens before a text and {} after it: GGUF has a place for one each", file.string(),
         parts.before.size(), parts.after.size());
  const auto add_id = [&](const char* key, int32_t id) {
    if (id >= 0) metadata.push_back({std::string("tokenizer.ggml.") + key, static_cast<uint32_t>(id)});
  };
  add_id("bos_token_id", parts.before.empty() ? spec.bos_token_id : parts.before[0]);
  add_id("eos_token_id", !parts.after.empty()         ? parts.after[0]
                         : spec.eos_token_ids.empty() ? -1
                                                      : spec.eos_token_ids[0]);
  metadata.push_back({"tokenizer.ggml.add_bos_token", !parts.before.empty()});
  metadata.push_back({"tokenizer.ggml.add_eos_token", !parts.after.empty()});
}

void add_chat_template(const fs::path& folder, const TokenizerConfig& config, GgufMetadata& metadata) {
  const auto found = config.content.find("chat_template");
  if (found != config.content.end() && found->is_string()) {
    metadata.push_back({"tokenizer.chat_template", found->get<std::string>()});
  } else if (fs::exists(folder / "chat_template.jinja")) {
    metadata.push_back({"tokenizer.chat_template", read_tokenizer_file(folder / "chat_template.jinja")});
  }
}

void add_tokens(const fs::path& file, GgufTokenizer tokenizer, const ModelSpec& spec,
                GgufMetadata& metadata) {
  if (static_cast<int64_t>(tokenizer.tokens.size()) > spec.vocab_size)
    fail("{}: {} tokens, expected at most vocab_size = {}", file.string(), tokenizer.tokens.size(),
         spec.vocab_size);
  while (static_cast<int64_t>(tokenizer.tokens.size()) < spec.vocab_size) tokenizer.add_unused();
  std::vector<std::string> texts;
  std::vector<float> scores;
  std::vector<int32_t> types;
  for (GgufToken& token : tokenizer.tokens) {
    texts.push_back(std::move(token.text));
    scores.push_back(token.score);
    types.push_back(static_cast<int32_t>(token.type));
  }
  metadata.push_back({"tokenizer.ggml.tokens", std::move(texts)});
  metadata.push_back({"tokenizer.ggml.token_type", std::move(types)});
  if (tokenizer.model == "llama") {
    metadata.push_back({"tokenizer.ggml.scores", std::move(scores)});
    metadata.push_back({"tokenizer.ggml.add_space_prefix", tokenizer.add_space_prefix});
  } else {
    metadata.push_back({"tokenizer.ggml.merges", std::move(tokenizer.merges)});
  }
}

}  // namespace

GgufMetadata tokenizer_metadata(const fs::path& folder, const ModelSpec& spec) {
  const TokenizerConfig config = TokenizerConfig::read(folder);
  fs::path file;
  TokenizerParts parts;
  GgufTokenizer tokenizer;
  if (fs::exists(file = folder / "tokenizer.json")) {
    parts = read_tokenizer_json(file, config);  // checks all that is read below
    tokenizer = gguf_tokenizer_of_json(file, *parts.vocabulary);
  } else if (fs::exists(file = folder / "tokenizer.model")) {
    parts = read_sentencepiece_model(file, config);
    tokenizer = gguf_tokenizer_of_sentencepiece(file);
  } else if (fs::exists(file = folder / "vocab.json")) {
    fail("{}: exporting a vocab.json is not supported, expected a tokenizer.json or tokenizer.model",
         file.string());
  } else {
    return {{"tokenizer.ggml.model", std::string("no_vocab")}};
  }
  GgufMetadata metadata = {{"tokenizer.ggml.model", tokenizer.model}, {"tokenizer.ggml.pre", tokenizer.pre}};
  add_tokens(file, std::move(tokenizer), spec, metadata);
  add_special_ids(file, parts, spec, metadata);
  add_chat_template(folder, config, metadata);
  return metadata;
}

}  // namespace whittle
