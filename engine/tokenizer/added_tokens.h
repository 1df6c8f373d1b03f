#pragma once
// Added tokens: texts that are tokens wherever they are written, found before the model sees what lies
// between them.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/files/json_file.h"

namespace whittle {

struct AddedToken {
  std::string content;
  int32_t id = -1;
  bool special = false;      // left out of decoded text
  bool single_word = false;  // only where no word character stands beside it
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // takes the white space after it
  bool normalized = false;   // looked for in the normalized text
};

// The fields of `added_tokens` in tokenizer.json and of `added_tokens_decoder` in tokenizer_config.json, but
// for the id.
AddedToken parse_added_token(const JsonFields& fields, int64_t id);

class AddedTokenMatcher {
 public:
  explicit AddedTokenMatcher(std::vector<AddedToken> tokens);

  struct Piece {
    std::string_view text;
    int32_t id;  // −1: text between added tokens, never empty
  };
  // The leftmost matches, of those the longest, and what lies between: views into `text`, valid UTF-8.
  std::vector<Piece> split(std::string_view text) const;

 private:
  const AddedToken* longest_match(std::string_view text) const;  // at the front

  std::vector<AddedToken> tokens_;
  std::array<bool, 256> starts_{};                   // first bytes
  std::unordered_map<uint64_t, uint32_t> children_;  // a trie: node and byte to node
  std::vector<int32_t> ends_{-1};                    // by node, the token that ends there
};

}  // namespace whittle
