#pragma once
// The tokens of a model: texts as the files write them, and ids.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace whittle {

struct Token {
  const std::string* text = nullptr;  // null: no token has this id
  bool added = false;    // matched in the text before the model sees it; text as it is, not byte-level
  bool special = false;  // left out of decoded text
};

class Vocabulary {
 public:
  static constexpr int64_t max_size = 1 << 21;

  void reserve(size_t tokens) { ids_.reserve(tokens); }
  // Throws Error, with `where` in front, for an id outside [0, max_size) and for an id or a text that is
  // taken.
  void add(std::string_view text, int64_t id, const std::string& where);
  // Adds the token, or marks the one that is already there under the same id. Throws Error like add.
  void mark_added(std::string_view text, int64_t id, bool special, const std::string& where);

  std::optional<int32_t> find(std::string_view text) const;
  const Token* token(int64_t id) const;  // null where there is none
  int64_t size() const {
    return static_cast<int64_t>(tokens_.size());
  }  // ids are below this; there may be holes

 private:
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  std::unordered_map<std::string, int32_t, Hash, std::equal_to<>> ids_;
  std::vector<Token> tokens_;  // texts are the keys of ids_, which never move
};

}  // namespace whittle
