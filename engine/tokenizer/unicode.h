#pragma once
// UTF-8, the few character classes that tokenizers ask for, and the byte-level alphabet of GPT-2.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace whittle {

// What stands at the front of a text.
struct Utf8Front {
  int32_t code_point;  // −1 where the bytes are no character
  int length;          // in bytes; of no character: those that one U+FFFD stands for by the Unicode standard
  bool unfinished;     // the text ends in the middle of what may become a character
};
Utf8Front utf8_front(std::string_view text);  // `text` is not empty

// Bytes of the character that starts with `lead`, in a text known to be UTF-8.
inline size_t utf8_length(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}
void append_utf8(int32_t code_point, std::string& text);

inline constexpr std::string_view replacement_character = "\xEF\xBF\xBD";  // U+FFFD

bool is_valid_utf8(std::string_view text);
// Every byte that is not part of a character becomes U+FFFD.
std::string replace_invalid_bytes(std::string_view text);

bool is_space(int32_t code_point);  // the property White_Space
bool is_word(int32_t code_point);   // letters, marks, numbers and connectors

// Of a valid text, −1 where it is empty.
int32_t first_code_point(std::string_view text);
// The last character of a valid text, empty where the text is.
std::string_view last_character(std::string_view text);

// GPT-2 writes each byte of a text as a printable character ("Ġ" is a space), in vocabulary and merges.
const std::array<std::string, 256>& byte_level_alphabet();
// The bytes that `token` stands for; as it is where it has a character outside the alphabet.
std::string byte_level_bytes(std::string_view token);

}  // namespace whittle
