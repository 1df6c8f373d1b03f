#pragma once
// The regular expressions of tokenizer files, through PCRE2. They are written for Oniguruma: a pattern that
// the two libraries would read differently is an Error.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace whittle {

struct TextSpan {
  size_t begin = 0, end = 0;  // bytes
};

class Regex {
 public:
  enum class Syntax { regex, literal };
  // `where` names the file and field in errors, here and while matching. Throws Error.
  Regex(std::string_view pattern, Syntax syntax, std::string where);

  // Appends the matches in valid UTF-8, left to right, also empty ones. Throws Error where the pattern needs
  // more steps or memory than a sane one.
  void find_all(std::string_view text, std::vector<TextSpan>& matches) const;
  // `text` with every match replaced by `content`. Throws Error also where the result would exceed
  // max_text_bytes.
  std::string replace_all(std::string_view text, std::string_view content) const;

 private:
  std::shared_ptr<void> code_;
  std::string where_;
};

// The longest text that is encoded at once.
inline constexpr size_t max_text_bytes = size_t{1} << 28;

}  // namespace whittle
