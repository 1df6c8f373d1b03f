#include "bench/tasks/text_lines.h"

#include "engine/tokenizer/unicode.h"

namespace whittle {

std::vector<TextLine> lines_of(std::string_view text) {
  constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
  if (text.starts_with(byte_order_mark)) text.remove_prefix(byte_order_mark.size());
  std::vector<TextLine> lines;
  for (int64_t number = 1; !text.empty(); ++number) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.find_first_not_of(" \t") != std::string_view::npos) lines.push_back({number, line});
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return lines;
}

std::string_view trimmed_end(std::string_view text) {
  while (!text.empty()) {
    const std::string_view last = last_character(text);
    if (!is_space(utf8_front(last).code_point)) break;
    text.remove_suffix(last.size());
  }
  return text;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty()) {
    const Utf8Front front = utf8_front(text);
    if (!is_space(front.code_point)) break;
    text.remove_prefix(static_cast<size_t>(front.length));
  }
  return trimmed_end(text);
}

}  // namespace whittle
