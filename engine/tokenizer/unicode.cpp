#include "engine/tokenizer/unicode.h"

#include <utf8proc.h>

#include <cstring>

namespace whittle {

namespace {

// The row of Unicode's table of well-formed byte sequences for a lead byte: how many bytes, and what the
// second may be.
struct Utf8Row {
  int length;
  unsigned char second_min, second_max;
};

Utf8Row utf8_row(unsigned char lead) {
  if (lead < 0x80) return {1, 0, 0};
  if (lead < 0xC2 || lead > 0xF4) return {0, 0, 0};
  if (lead < 0xE0) return {2, 0x80, 0xBF};
  if (lead < 0xF0)
    return {3, lead == 0xE0 ? uint8_t{0xA0} : uint8_t{0x80}, lead == 0xED ? uint8_t{0x9F} : uint8_t{0xBF}};
  return {4, lead == 0xF0 ? uint8_t{0x90} : uint8_t{0x80}, lead == 0xF4 ? uint8_t{0x8F} : uint8_t{0xBF}};
}

// Bytes at the front that are ASCII, eight at a time.
size_t ascii_length(std::string_view text) {
  size_t i = 0;
  for (uint64_t block; i + sizeof block <= text.size(); i += sizeof block) {
    std::memcpy(&block, text.data() + i, sizeof block);
    if (block & 0x8080808080808080u) break;
  }
  while (i < text.size() && static_cast<unsigned char>(text[i]) < 0x80) i++;
  return i;
}

struct ByteLevelTable {
  std::array<std::string, 256> characters;
  std::array<int16_t, 324> bytes;  // by code point, −1 outside the alphabet

  ByteLevelTable() {
    bytes.fill(-1);
    int32_t next = 256;  // bytes that are no printable Latin-1 character take the code points from here
    for (int byte = 0; byte < 256; byte++) {
      const bool printable = (byte > 0x20 && byte < 0x7F) || (byte > 0xA0 && byte != 0xAD);
      const int32_t code_point = printable ? byte : next++;
      append_utf8(code_point, characters[static_cast<size_t>(byte)]);
      bytes[static_cast<size_t>(code_point)] = static_cast<int16_t>(byte);
    }
  }
};

const ByteLevelTable& byte_level_table() {
  static const ByteLevelTable table;
  return table;
}

}  // namespace

Utf8Front utf8_front(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const Utf8Row row = utf8_row(byte(0));
  if (row.length == 1) return {byte(0), 1, false};
  if (row.length == 0) return {-1, 1, false};
  int32_t code_point = byte(0) & (0x7F >> row.length);
  for (int i = 1; i < row.length; i++) {
    if (static_cast<size_t>(i) == text.size()) return {-1, i, true};
    const unsigned char min = i == 1 ? row.second_min : 0x80, max = i == 1 ? row.second_max : 0xBF;
    const unsigned char next = byte(static_cast<size_t>(i));
    if (next < min || next > max) return {-1, i, false};
    code_point = code_point << 6 | (next & 0x3F);
  }
  return {code_point, row.length, false};
}

void append_utf8(int32_t code_point, std::string& text) {
  utf8proc_uint8_t bytes[4];
  const auto length = utf8proc_encode_char(code_point, bytes);
  text.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(length));
}

bool is_valid_utf8(std::string_view text) {
  for (;;) {
    text.remove_prefix(ascii_length(text));
    if (text.empty()) return true;
    const Utf8Front front = utf8_front(text);
    if (front.code_point < 0) return false;
    text.remove_prefix(static_cast<size_t>(front.length));
  }
}

std::string replace_invalid_bytes(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const Utf8Front front = utf8_front(text);
    const auto length = static_cast<size_t>(front.length);
    if (front.code_point < 0) {
      for (size_t i = 0; i < length; i++) result += replacement_character;
    } else {
      result += text.substr(0, length);
    }
    text.remove_prefix(length);
  }
  return result;
}

bool is_space(int32_t c) {
  return (c >= 0x9 && c <= 0xD) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

bool is_word(int32_t code_point) {
  if (code_point < 0) return false;
  switch (utf8proc_category(code_point)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC: return true;
    default: return false;
  }
}

int32_t first_code_point(std::string_view text) { return text.empty() ? -1 : utf8_front(text).code_point; }

std::string_view last_character(std::string_view text) {
  size_t begin = text.size();
  while (begin > 0 && (static_cast<unsigned char>(text[--begin]) & 0xC0) == 0x80) {
  }
  return text.substr(begin);
}

const std::array<std::string, 256>& byte_level_alphabet() { return byte_level_table().characters; }

std::string byte_level_bytes(std::string_view token) {
  const auto& table = byte_level_table().bytes;
  std::string result;
  for (std::string_view rest = token; !rest.empty();) {
    const Utf8Front front = utf8_front(rest);
    if (front.code_point < 0 || static_cast<size_t>(front.code_point) >= table.size())
      return std::string(token);
    const int16_t byte = table[static_cast<size_t>(front.code_point)];
    if (byte < 0) return std::string(token);
    result += static_cast<char>(byte);
    rest.remove_prefix(static_cast<size_t>(front.length));
  }
  return result;
}

}  // namespace whittle
