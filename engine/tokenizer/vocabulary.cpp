#include "engine/tokenizer/vocabulary.h"

#include "engine/files/json_file.h"
#include "kernels/error.h"

namespace whittle {

void Vocabulary::add(std::string_view text, int64_t id, const std::string& where) {
  if (id < 0 || id >= max_size)
    fail("{}: token {} has id {}, expected 0 to {}", where, quote(text), id, max_size - 1);
  if (const Token* other = token(id))
    fail("{}: tokens {} and {} have the same id {}", where, quote(*other->text), quote(text), id);
  const auto [place, is_new] = ids_.emplace(text, static_cast<int32_t>(id));
  if (!is_new) fail("{}: token {} has the ids {} and {}", where, quote(text), place->second, id);
  if (id >= size()) tokens_.resize(static_cast<size_t>(id) + 1);
  tokens_[static_cast<size_t>(id)].text = &place->first;
}

void Vocabulary::mark_added(std::string_view text, int64_t id, bool special, const std::string& where) {
  if (find(text) != id) add(text, id, where);
  Token& token = tokens_[static_cast<size_t>(id)];
  if (token.added) fail("{}: token {} is added twice", where, quote(text));
  token.added = true;
  token.special = special;
}

std::optional<int32_t> Vocabulary::find(std::string_view text) const {
  const auto found = ids_.find(text);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

const Token* Vocabulary::token(int64_t id) const {
  if (id < 0 || id >= size() || !tokens_[static_cast<size_t>(id)].text) return nullptr;
  return &tokens_[static_cast<size_t>(id)];
}

}  // namespace whittle
