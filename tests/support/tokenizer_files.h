#pragma once
// Small tokenizers, written to disk and opened.

#include <fmt/format.h>

#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/tokenizer/tokenizer.h"
#include "tests/support/paths.h"

namespace whittle::test {

inline Tokenizer open_files(const std::vector<std::pair<std::string, std::string>>& files) {
  TemporaryFolder folder;
  for (const auto& [name, content] : files) std::ofstream(folder.path() / name, std::ios::binary) << content;
  return Tokenizer::open(folder.path());
}

inline Tokenizer open_tokenizer(const nlohmann::json& tokenizer_json) {
  return open_files({{"tokenizer.json", tokenizer_json.dump()}});
}

// Ids in order; a repeated token keeps its first.
inline nlohmann::json vocabulary_of(const std::vector<std::string>& tokens) {
  nlohmann::json vocab = nlohmann::json::object();
  for (const std::string& token : tokens) vocab.emplace(token, vocab.size());
  return vocab;
}

// A tokenizer.json of these tokens and merges, with nothing before or after the model.
inline nlohmann::json bpe_tokenizer(const std::vector<std::string>& tokens,
                                    nlohmann::json merges = nlohmann::json::array()) {
  return {{"version", "1.0"},
          {"added_tokens", nlohmann::json::array()},
          {"model", {{"type", "BPE"}, {"vocab", vocabulary_of(tokens)}, {"merges", std::move(merges)}}}};
}

// Small letters, a space, a newline and some marks, with a few merges ("th", " a", ...), 40 ids in all;
// `bos`: encoding puts id 0 first.
inline nlohmann::json letter_tokenizer(bool bos) {
  std::vector<std::string> tokens = {"<s>", " ", "\n", ".", ":", "?"};
  for (char c = 'a'; c <= 'z'; ++c) tokens.emplace_back(1, c);
  nlohmann::json merges = nlohmann::json::array();
  for (const auto& [left, right] : std::vector<std::pair<std::string, std::string>>{{"t", "h"},
                                                                                    {" ", "a"},
                                                                                    {"th", "e"},
                                                                                    {"b", "b"},
                                                                                    {" a", "b"},
                                                                                    {"\n", "\n"},
                                                                                    {"i", "n"},
                                                                                    {"e", "r"},
                                                                                    {"d", " "},
                                                                                    {"d ", "d"}}) {
    tokens.push_back(left + right);
    merges.push_back({left, right});
  }
  nlohmann::json tokenizer = bpe_tokenizer(tokens, merges);
  tokenizer["added_tokens"].push_back({{"id", 0},
                                       {"content", "<s>"},
                                       {"single_word", false},
                                       {"lstrip", false},
                                       {"rstrip", false},
                                       {"normalized", false},
                                       {"special", true}});
  if (bos) {
    const nlohmann::json first = {{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}};
    const nlohmann::json text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
    tokenizer["post_processor"] = {
        {"type", "TemplateProcessing"},
        {"single", {first, text}},
        {"pair", {first, text, text}},
        {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {0}}, {"tokens", {"<s>"}}}}}}};
  }
  return tokenizer;
}

// A sentencepiece model, as the protocol buffer that it is.
class SentencePieceModel {
 public:
  enum Type { normal = 1, unknown = 2, control = 3, user_defined = 4, byte = 6 };

  SentencePieceModel& piece(std::string_view text, float score, Type type) {
    std::string number(sizeof score, '\0');
    std::memcpy(number.data(), &score, sizeof score);
    bytes_ += field(1, field(1, text) + std::string(1, 2 << 3 | 5) + number + varint(3 << 3) + varint(type));
    return *this;
  }
  // Byte-pair merging, with tokens for bytes or without.
  SentencePieceModel& trainer(bool byte_fallback, std::string_view more = {}) {
    bytes_ +=
        field(2, varint(3 << 3) + varint(2) + varint(35 << 3) + varint(byte_fallback) + std::string(more));
    return *this;
  }
  SentencePieceModel& normalizer(bool add_dummy_prefix, bool remove_extra_whitespaces,
                                 std::string_view more = {}) {
    bytes_ += field(3, varint(3 << 3) + varint(add_dummy_prefix) + varint(4 << 3) +
                           varint(remove_extra_whitespaces) + std::string(more));
    return *this;
  }
  const std::string& bytes() const { return bytes_; }

  static std::string varint(uint64_t value) {
    std::string bytes;
    for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
    return bytes += static_cast<char>(value);
  }
  static std::string field(uint64_t number, std::string_view payload) {
    return varint(number << 3 | 2) + varint(payload.size()) + std::string(payload);
  }

 private:
  std::string bytes_;
};

// <unk>, <s>, </s>, all bytes, and a few pieces.
inline SentencePieceModel small_sentencepiece_model(bool add_dummy_prefix, bool remove_extra_whitespaces) {
  SentencePieceModel model;
  model.piece("<unk>", 0, SentencePieceModel::unknown).piece("<s>", 0, SentencePieceModel::control);
  model.piece("</s>", 0, SentencePieceModel::control);
  for (int i = 0; i < 256; i++) model.piece(fmt::format("<0x{:02X}>", i), 0, SentencePieceModel::byte);
  float score = 0;
  for (const char* text : {"▁t", "he", "▁the", "▁", "t", "h", "e", "a", "▁▁", "é", "▁a"}) {
    model.piece(text, score--, SentencePieceModel::normal);
  }
  model.piece("[user]", 0, SentencePieceModel::user_defined);
  return model.trainer(true).normalizer(add_dummy_prefix, remove_extra_whitespaces);
}

}  // namespace whittle::test
