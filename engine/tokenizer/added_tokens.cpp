#include "engine/tokenizer/added_tokens.h"

#include <algorithm>

#include "engine/tokenizer/fields.h"
#include "engine/tokenizer/unicode.h"
#include "engine/tokenizer/vocabulary.h"

namespace whittle {

AddedToken parse_added_token(const JsonFields& fields, int64_t id) {
  allow_fields(fields, {"id", "content", "special", "single_word", "lstrip", "rstrip", "normalized"});
  AddedToken token{.content = fields.string("content"), .id = static_cast<int32_t>(id)};
  if (token.content.empty()) fields.reject("content", "expected a text, found an empty string");
  token.special = fields.boolean("special", false);
  token.single_word = fields.boolean("single_word", false);
  token.lstrip = fields.boolean("lstrip", false);
  token.rstrip = fields.boolean("rstrip", false);
  token.normalized = fields.boolean("normalized", !token.special);
  return token;
}

AddedTokenMatcher::AddedTokenMatcher(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  for (size_t i = 0; i < tokens_.size(); i++) {
    if (tokens_[i].content.empty()) continue;  // normalized to nothing: never found
    uint32_t node = 0;
    for (const char c : tokens_[i].content) {
      const uint64_t edge = static_cast<uint64_t>(node) << 8 | static_cast<unsigned char>(c);
      const auto [child, is_new] = children_.emplace(edge, static_cast<uint32_t>(ends_.size()));
      if (is_new) ends_.push_back(-1);
      node = child->second;
    }
    if (ends_[node] < 0) ends_[node] = static_cast<int32_t>(i);
    starts_[static_cast<unsigned char>(tokens_[i].content[0])] = true;
  }
}

const AddedToken* AddedTokenMatcher::longest_match(std::string_view text) const {
  const AddedToken* longest = nullptr;
  uint32_t node = 0;
  for (const char c : text) {
    const auto child = children_.find(static_cast<uint64_t>(node) << 8 | static_cast<unsigned char>(c));
    if (child == children_.end()) break;
    node = child->second;
    if (ends_[node] >= 0) longest = &tokens_[static_cast<size_t>(ends_[node])];
  }
  return longest;
}

std::vector<AddedTokenMatcher::Piece> AddedTokenMatcher::split(std::string_view text) const {
  std::vector<Piece> pieces;
  size_t done = 0;  // what lies before belongs to a piece
  for (size_t at = 0; at < text.size();) {
    if (!starts_[static_cast<unsigned char>(text[at])]) {
      at++;
      continue;
    }
    const AddedToken* token = longest_match(text.substr(at));
    if (!token) {
      at++;
      continue;
    }
    size_t begin = at, end = at + token->content.size();
    at = end;
    if (token->single_word && (is_word(first_code_point(last_character(text.substr(0, begin)))) ||
                               is_word(first_code_point(text.substr(end))))) {
      continue;
    }
    if (token->lstrip) {
      for (;;) {
        const std::string_view before = last_character(text.substr(done, begin - done));
        if (!is_space(first_code_point(before))) break;
        begin -= before.size();
      }
    }
    if (token->rstrip) {
      while (end < text.size() && is_space(first_code_point(text.substr(end)))) end += utf8_length(text[end]);
    }
    if (begin > done) pieces.push_back({text.substr(done, begin - done), -1});
    pieces.push_back({text.substr(begin, end - begin), token->id});
    at = done = end;
  }
  if (done < text.size()) pieces.push_back({text.substr(done), -1});
  return pieces;
}

}  // namespace whittle
